"""Statistics, tables and what reads other programs' output: `python3 -m unittest discover bench`."""

import json
import tempfile
import unittest
from pathlib import Path

from harness import docs, goals, machine, plot, results, services
from harness.exposition import Scrape
from harness.ledger import Ledger, differences
from harness.sections import cost, crates, delay, engine
from harness.stats import mostly, number, spread, summary
from harness.table import markdown

DIVAN = """\
Timer precision: 17 ns
decide                 fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ ten_in_windows      116.4 µs      │ 4.193 ms      │ 118.4 µs      │ 201 µs        │ 100     │ 100
│                      8.587 Mitem/s │ 238.4 Kitem/s │ 8.44 Mitem/s  │ 4.973 Mitem/s │         │
├─ scrape                            │               │               │               │         │
│  ├─ 0                37.17 µs      │ 73.77 µs      │ 46.53 µs      │ 46.71 µs      │ 100     │ 100
│  ╰─ 100              43.43 µs      │ 4.122 ms      │ 1.5 ms        │ 88.74 µs      │ 100     │ 100
╰─ ten_independent_at                │               │               │               │         │
   ╰─ 50               117.4 µs      │ 4.189 ms      │ 500 ns        │ 190.5 µs      │ 100     │ 100
                       8.517 Mitem/s │ 238.7 Kitem/s │ 8.399 Mitem/s │ 5.249 Mitem/s │         │
"""


class Figures(unittest.TestCase):
    def test_a_summary_has_the_median_and_the_spread(self):
        self.assertEqual(summary([5, 1, 3]), {"median": 3, "min": 1, "max": 5, "values": [5, 1, 3]})
        self.assertEqual(summary([1, 2, 3, 10])["median"], 2.5)

    def test_numbers_keep_three_digits(self):
        for value, text in [(0, "0"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"),
                            (1234.5, "1,234"), (-49.94, "-49.9"), (1_000_000, "1,000,000")]:
            self.assertEqual(number(value), text)

    def test_a_spread_is_scaled_and_marked_where_the_client_limits(self):
        result = summary([1000, 2000, 4000])
        self.assertEqual(spread(result, 1e-3), "2.00 (1.00–4.00)")
        self.assertEqual(spread(result, 1e-3, limited=True), "2.00* (1.00–4.00)")

    def test_a_mark_needs_most_of_the_rounds(self):
        self.assertTrue(mostly([True, True, False]))
        self.assertFalse(mostly([True, False]))
        self.assertFalse(mostly([]))

    def test_the_client_limits_where_its_core_is_full_and_the_servers_is_not(self):
        result = {"requests": 100, "failed": 1, "seconds": 2.0, "busy": 0.99}
        self.assertTrue(cost.figures(result, 1.0, 0.0)["limited"])
        self.assertFalse(cost.figures(result, 1.9, 0.0)["limited"])
        self.assertFalse(cost.figures({**result, "busy": 0.5}, 1.0, 0.0)["limited"])
        self.assertEqual(cost.figures(result, 1.0, 0.25), {
            "cpu_us": 10_000, "rate": 50, "failed": 0.01, "others": 0.25, "limited": True})

    def test_early_answers_of_all_rounds_are_added(self):
        kept = delay.kept({"early": [0, 2, 1], "p50": [3, 1, 2], "p50_limited": [True, False, False]})
        self.assertEqual((kept["early"], kept["p50"]["median"], kept["p50_limited"]), (3, 2, False))


MAP = """\
             VMA              LMA     Size Align Out     In      Symbol
          200000           200000       1c     4 .rodata
          200000           200000       1c     4         /x/a.o:(.rodata..Lanon.1)
          201000           201000       f0    16 .text
          201000           201000       40    16         /x/a.o:(.text._ZN13kube_probesim4plan4read17h0123456789abcdefE)
          201000           201000        0     1                 _ZN13kube_probesim4plan4read17h0123456789abcdefE
          201040           201040       20    16         /x/a.o:(.text._ZN4core3ptr47drop_in_place$LT$kube_probesim..tls..Keys$GT$17h0123456789abcdefE)
          201060           201060       10    16         /x/a.o:(.text.unlikely._RNvNtCs1abc_4core3fmt5write)
          201070           201070       80    16         /x/libring-0123456789abcdef.rlib(aes.o):(.text)
"""


class LinkMap(unittest.TestCase):
    def test_code_counts_for_the_crate_in_its_name(self):
        found = crates.sizes(MAP)
        self.assertEqual(found["outputs"], {".rodata": 0x1c, ".text": 0xf0})
        self.assertEqual(found["crates"], {"kube_probesim": 0x60, "std": 0x10, "ring": 0x80})
        self.assertEqual(found["modules"], {"plan": 0x40, "tls": 0x20})

    def test_capabilities_take_their_modules_and_libraries(self):
        rows, left = crates.split(crates.sizes(MAP))
        self.assertEqual({name: (own, theirs) for name, own, theirs in rows if own},
                         {"TLS": (0x20, {"ring": 0x80}), "plans and their merging": (0x40, {})})
        self.assertEqual(left, {"std": 0x10})


class Pictures(unittest.TestCase):
    def test_points_lie_between_the_decades_around_them(self):
        picture = plot.Plot("cost", "µs", "rules", [plot.Line("rules", [(1, 5.0), (1000, 50.0)])]).svg()
        self.assertTrue(picture.startswith("<svg ") and picture.endswith("</svg>\n"))
        self.assertIn(f'cx="{plot.LEFT:.1f}"', picture)
        self.assertIn(f'cx="{plot.WIDTH - plot.RIGHT:.1f}"', picture)


class Documentation(unittest.TestCase):
    def test_figures_are_put_between_their_markers(self):
        taken = {"footprint": {"data": {services.OURS: {"binary": 7_345_678}}}}
        text = "a <!-- figure binary-mb -->?<!-- /figure --> MB"
        self.assertEqual(docs.filled(text, taken), "a <!-- figure binary-mb -->7.35<!-- /figure --> MB")
        self.assertIn("7.35", docs.filled("<!-- figures comparison -->\n<!-- /figures -->", taken))

    def test_the_committed_documentation_agrees_with_the_committed_results(self):
        taken = json.loads((machine.ROOT / "bench" / "results.json").read_text())
        self.assertEqual((machine.ROOT / "bench" / "RESULTS.md").read_text(), results.report(taken), "bench/run --docs")
        for name in docs.FILES:
            text = (machine.ROOT / name).read_text()
            self.assertTrue(docs.MARKER.search(text), name)
            self.assertEqual(text, docs.filled(text, taken["sections"]), "bench/run --docs")


class Tables(unittest.TestCase):
    def test_a_table_is_markdown(self):
        text = markdown(["a", "b"], [["x|y", 1]])
        self.assertEqual(text, "| a | b |\n|---|---:|\n| x\\|y | 1 |\n")

    def test_a_row_of_another_length_is_refused(self):
        with self.assertRaises(ValueError):
            markdown(["a", "b"], [[1]])


class Readers(unittest.TestCase):
    def test_medians_of_divan_are_read_with_their_group(self):
        found = {name: round(seconds * 1e9) for name, seconds in engine.medians(DIVAN).items()}
        self.assertEqual(found, {
            "ten_in_windows": 118_400, "scrape 0": 46_530, "scrape 100": 1_500_000, "ten_independent_at 50": 500})

    def test_a_service_from_elsewhere_is_a_name_and_a_url(self):
        plain = services.external("podinfo=http://localhost:9898/healthz")
        self.assertEqual((plain.name, plain.host, plain.port, plain.path), ("podinfo", "127.0.0.1", 9898, "/healthz"))
        self.assertFalse(plain.delays)
        slow = services.external("proxy:50ms=http://10.0.0.1")
        self.assertEqual((slow.delay_ms, slow.port, slow.path, slow.delays), (50, 80, "/", True))
        for wrong in ("podinfo", "=http://a/", "a=https://b/", "a:50=http://b/", "a=b"):
            with self.assertRaisesRegex(ValueError, "is expected"):
                services.external(wrong)


def taken(**data):
    return {name: {"data": value, "quick": False} for name, value in data.items()}


class Goals(unittest.TestCase):
    GOAL = goals.Goal("x", 1.15, ("cost", "keep-alive", "a", "cpu_us"), ("cost", "keep-alive", "b", "cpu_us"))

    def outcome(self, ours, theirs, **more):
        figures = {"a": {"cpu_us": summary(ours)}, "b": {"cpu_us": summary(theirs)}}
        goal = goals.Goal(**{**self.GOAL.__dict__, **more})
        return goals.outcome(goal, taken(cost={"keep-alive": figures}))

    def test_a_goal_is_a_ratio_of_medians(self):
        self.assertEqual(self.outcome([1, 2, 9], [2, 2, 2]), (1.0, True))
        self.assertEqual(self.outcome([3], [2]), (1.5, False))

    def test_below_is_less_than_at_most(self):
        self.assertEqual(self.outcome([2], [2], most=1.0), (1.0, True))
        self.assertEqual(self.outcome([2], [2], most=1.0, below=True), (1.0, False))

    def test_what_was_not_measured_has_no_outcome(self):
        self.assertIsNone(goals.outcome(self.GOAL, {}))
        self.assertIn("not measured", goals.report({}))

    def test_one_early_answer_misses_the_goal(self):
        for early, word in [(0, "yes"), (1, "**no**")]:
            sections = taken(delay={"50": {"1": {"kube-probesim": {"early": early}}}})
            self.assertIn(f"| early answers | 0 | {early} | {word} |", goals.report(sections))


class Report(unittest.TestCase):
    def test_sections_that_were_not_taken_again_stay(self):
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "results.json"
            file.write_text(json.dumps({"sections": {"predict": {"data": "old"}, "engine": {"data": "old"}}}))
            merged = results.merged(file, {"engine": {"data": "new"}}, quick=True)["sections"]
        self.assertEqual((merged["predict"]["data"], merged["engine"]["data"]), ("old", "new"))
        self.assertEqual(list(merged), ["engine", "predict"])


class Accounts(unittest.TestCase):
    """One request each was answered 200 and 503, cut, and left alone by its client."""

    COUNTED = """\
# TYPE probesim_requests_total counter
probesim_requests_total{target="traffic",client="other",code="200"} 11
probesim_requests_total{target="traffic",client="kubelet",code="503"} 1
probesim_requests_total{target="traffic",client="other",code="none"} 2
probesim_clients_gone_total{target="traffic"} 1
probesim_faults_injected_total{fault="x",target="traffic",mode="status"} 1
"""

    def setUp(self):
        self.ledger = Ledger()
        account = self.ledger["traffic"]
        account.sent, account.cut, account.left = 4, 1, 1
        account.answered.update([200, 503])
        account.faults["x"] += 1
        self.before = Scrape('probesim_requests_total{target="traffic",client="other",code="200"} 10')

    def wrong(self, counted=COUNTED):
        return "; ".join(differences(self.ledger, self.before, Scrape(counted)))

    def test_samples_are_summed_by_labels(self):
        scrape = Scrape(self.COUNTED)
        self.assertEqual(scrape.sum("probesim_requests_total", target="traffic"), 14)
        self.assertEqual(scrape.sum("probesim_requests_total", target="liveness"), 0)
        self.assertEqual(scrape.by("probesim_requests_total", "code", client="other"), {"200": 11, "none": 2})

    def test_what_adds_up_is_fine(self):
        self.assertEqual(self.wrong(), "")

    def test_a_request_that_is_not_counted_is_found(self):
        self.ledger["traffic"].sent += 1
        self.assertIn("5 requests were sent, 4 counted", self.wrong())

    def test_a_request_that_is_counted_twice_is_found(self):
        self.assertIn("4 requests were sent, 5 counted", self.wrong(self.COUNTED.replace("} 11", "} 12")))

    def test_an_answer_under_another_code_is_found(self):
        self.assertIn("1 answers of 503 came, 0 were counted", self.wrong(self.COUNTED.replace('"503"', '"500"')))

    def test_a_cut_that_is_not_counted_is_found(self):
        text = self.COUNTED.replace('code="none"} 2', 'code="none"} 0').replace("} 11", "} 13")
        self.assertIn("1 requests were cut, 0 counted without a head", self.wrong(text))

    def test_more_clients_gone_than_left_are_found(self):
        self.assertIn("1 clients left, 2 were counted", self.wrong(self.COUNTED.replace('total{target="traffic"} 1',
                                                                                        'total{target="traffic"} 2')))

    def test_an_injection_that_nobody_saw_is_found(self):
        text = self.COUNTED.replace('mode="status"} 1', 'mode="status"} 3')
        self.assertIn("1 answers named x, 3 were counted", self.wrong(text))


if __name__ == "__main__":
    unittest.main()
