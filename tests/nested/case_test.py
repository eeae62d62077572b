"""What passes and what fails a case, without any machine."""

import unittest

from case import Case, RESET, judge

GOOD = ["@guest ready 1.00 cpus 1", "@guest job fs ok", f"@status {RESET}",
        '@stats {"total":{"devices":{"disk0":{"kicks":5,"kicks_by_exit":0}}}}']


class JudgeTest(unittest.TestCase):
    def judge(self, lines, **other):
        return judge(Case("boot.test", "", **other), lines)

    def test_good(self):
        self.assertIsNone(self.judge(GOOD, want=[r"job fs ok"]))

    def test_missing_line(self):
        self.assertIn("job fs ok", self.judge(GOOD[:1] + GOOD[2:], want=[r"job fs ok"]))

    def test_kernel_complaint(self):
        self.assertIn("soft lockup", self.judge(["[ 1.0] BUG: soft lockup", *GOOD]))

    def test_complaint_allowed(self):
        self.assertIsNone(self.judge(["Call Trace:", *GOOD], allow=[r"Call Trace"]))

    def test_failed_job(self):
        self.assertIn("FAILED", self.judge(["@guest job net FAILED", *GOOD]))

    def test_status(self):
        self.assertIn("exit status", self.judge([*GOOD, "@status 1"]))
        self.assertIn("exit status", self.judge(GOOD[:2]))

    def test_kicks(self):
        self.assertIsNone(self.judge(GOOD, check=lambda run: run.by_eventfd("disk0")))
        self.assertIn("not all", self.judge(GOOD, check=lambda run: run.by_exit("disk0")))
        self.assertIn("disk1", self.judge(GOOD, check=lambda run: run.by_exit("disk1")))


if __name__ == "__main__":
    unittest.main()
