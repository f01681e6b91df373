"""Statistics, tables and what reads other programs' output: `python3 -m unittest discover bench`."""

import json
import tempfile
import unittest
from pathlib import Path

from harness import goals, results, services
from harness.sections import cost, delay, engine
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


class Tables(unittest.TestCase):
    def test_a_table_is_markdown(self):
        text = markdown(["a", "b"], [["x|y", 1]])
        self.assertEqual(text, "| a | b |\n|---|---:|\n| x\\|y | 1 |\n")

    def test_a_row_of_another_length_is_refused(self):
        with self.assertRaises(ValueError):
            markdown(["a", "b"], [[1]])


class Readers(unittest.TestCase):
    def test_medians_of_divan_are_read_with_their_group(self):
        self.assertEqual(engine.medians(DIVAN), {
            "ten_in_windows": 118.4e-6, "scrape 0": 46.53e-6, "scrape 100": 1.5e-3, "ten_independent_at 50": 5e-7})

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


if __name__ == "__main__":
    unittest.main()
