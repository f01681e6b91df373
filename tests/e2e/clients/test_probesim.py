"""The Python helper with the service, and with an image if PROBESIM_IMAGE is set."""

import os
import pathlib
import sys
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "clients/python"))
import probesim  # noqa: E402


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


class Helper(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = probesim.start()
        cls.service = cls.context.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.context.__exit__(None, None, None)

    def test_a_fault_lasts_as_long_as_its_block_and_counts_what_it_did(self):
        with self.service.fault("readiness", mode="status", status=503) as fault:
            self.assertEqual(status(self.service.url + "/readyz"), 503)
            self.assertEqual(status(self.service.url + "/healthz"), 200)
            self.assertEqual((fault.eligible, fault.injected), (1, 1))
        self.assertEqual(status(self.service.url + "/readyz"), 200)
        fault.assert_injected(at_least=1, at_most=1)

    def test_a_fault_that_did_nothing_fails_the_assertion(self):
        with self.service.fault("liveness", mode="status") as fault:
            pass
        with self.assertRaisesRegex(AssertionError, "acted on 0 of 0 requests, expected at least 1"):
            fault.assert_injected()
        with self.service.fault("liveness", mode="status") as fault:
            status(self.service.url + "/healthz")
        with self.assertRaisesRegex(AssertionError, "acted on 1 of 1 requests, expected at least 0 and at most 0"):
            fault.assert_injected(at_least=0, at_most=0)

    def test_a_block_that_raises_ends_its_fault(self):
        with self.assertRaises(KeyError):
            with self.service.fault("liveness", mode="status", name="raises"):
                raise KeyError
        self.assertEqual(self.service.state()["rules"], [])

    def test_a_fault_that_somebody_else_removed_ends_quietly(self):
        with self.service.fault("liveness", mode="status", name="removed"):
            self.service.request("DELETE", "/v1/faults/removed")

    def test_a_fault_ends_by_itself_if_the_test_is_killed(self):
        with self.service.fault("liveness", mode="status"):
            [rule] = self.service.state()["rules"]
            self.assertRegex(rule["expires_in"], r"^14m\d+|^15m$")
        with self.service.fault("liveness", mode="status", ttl="1m"):
            [rule] = self.service.state()["rules"]
            self.assertRegex(rule["expires_in"], r"^5\d(\.\d+)?s$|^1m$")

    def test_no_other_fault_of_the_same_name_is_replaced(self):
        with self.service.fault("liveness", mode="status", name="taken"):
            with self.assertRaisesRegex(probesim.ProbesimError, "a fault named taken is in force already"):
                with self.service.fault("readiness", mode="status", name="taken"):
                    self.fail("it was put in force")
            [rule] = self.service.state()["rules"]
            self.assertEqual(rule["rule"]["target"], ["liveness"])

    def test_a_wrong_fault_says_which_fields_are_wrong(self):
        with self.assertRaises(probesim.ProbesimError) as raised:
            with self.service.fault("readiness", mode="stats", rate="200%"):
                self.fail("it was put in force")
        self.assertEqual(raised.exception.status, 422)
        self.assertEqual({error["field"] for error in raised.exception.errors}, {"mode", "rate"})
        self.assertIn('did you mean "status"?', str(raised.exception))

    def test_a_stop_ends_faults_until_they_resume(self):
        with self.service.fault("liveness", mode="status"):
            self.service.stop()
            self.assertEqual(status(self.service.url + "/healthz"), 200)
            self.service.resume()
            self.assertEqual(status(self.service.url + "/healthz"), 500)

    def test_the_module_reaches_a_service_by_its_address(self):
        with probesim.fault("liveness", mode="status", admin=self.service.admin) as fault:
            status(self.service.url + "/healthz")
        fault.assert_injected()

    def test_a_token_is_sent(self):
        with probesim.start(env={"ADMIN_TOKEN": "a-token-for-a-test"}) as service:
            with service.fault("liveness", mode="status"):
                self.assertEqual(status(service.url + "/healthz"), 500)
            with self.assertRaises(probesim.ProbesimError) as raised:
                probesim.Service(service.admin).state()
            self.assertEqual(raised.exception.status, 401)

    def test_a_service_that_does_not_start_says_why(self):
        with self.assertRaisesRegex(probesim.ProbesimError, 'PORT="x"'):
            with probesim.start(env={"PORT": "x"}):
                self.fail("it started")
        with self.assertRaisesRegex(probesim.ProbesimError, "/no/such/program cannot be run"):
            with probesim.start("/no/such/program"):
                self.fail("it started")
        with self.assertRaisesRegex(probesim.ProbesimError, "no answer from http://127.0.0.1:1"):
            probesim.Service("http://127.0.0.1:1").state()

    @unittest.skipUnless("PROBESIM_IMAGE" in os.environ, "no image")
    def test_an_image_is_run_and_removed(self):
        runtime = os.environ["PROBESIM_RUNTIME"].split()
        options = os.environ["PROBESIM_RUN_OPTIONS"].split()
        with probesim.container(os.environ["PROBESIM_IMAGE"], runtime, options) as service:
            with service.fault("readiness", mode="status", status=503) as fault:
                self.assertEqual(status(service.url + "/readyz"), 503)
            fault.assert_injected(1, 1)
        with self.assertRaisesRegex(probesim.ProbesimError, "no answer"):
            service.state()


if __name__ == "__main__":
    unittest.main()
