"""What passes and what fails a case, without any machine."""

import unittest

from case import Case, RESET, judge

GOOD = ["@guest ready 1.00 cpus 1", "@guest job fs ok", f"@status {RESET}",
        '@stats {"total":{"devices":{"disk0":{"kicks":5,"kicks_by_exit":0}}}}']


class JudgeTest(unittest.TestCase):
    def judge(self, lines, **other):
        return judge(Case("boot.test", "", **other), lines)

    def assertPasses(self, verdict):
        self.assertTrue(verdict[0], verdict[1])

    def assertFails(self, what, verdict):
        self.assertFalse(verdict[0])
        self.assertIn(what, verdict[1])

    def test_good(self):
        self.assertPasses(self.judge(GOOD, want=[r"job fs ok"]))

    def test_missing_line(self):
        self.assertFails("job fs ok", self.judge(GOOD[:1] + GOOD[2:], want=[r"job fs ok"]))

    def test_kernel_complaint(self):
        self.assertFails("soft lockup", self.judge(["[ 1.0] BUG: soft lockup", *GOOD]))

    def test_complaint_allowed(self):
        self.assertPasses(self.judge(["Call Trace:", *GOOD], allow=[r"Call Trace"]))

    def test_failed_job(self):
        self.assertFails("FAILED", self.judge(["@guest job net FAILED", *GOOD]))

    def test_status(self):
        self.assertFails("exit status", self.judge([*GOOD, "@status 1"]))
        self.assertFails("exit status", self.judge(GOOD[:2]))

    def test_kicks(self):
        self.assertPasses(self.judge(GOOD, check=lambda run: run.by_eventfd("disk0")))
        self.assertFails("not all", self.judge(GOOD, check=lambda run: run.by_exit("disk0")))
        self.assertFails("disk1", self.judge(GOOD, check=lambda run: run.by_exit("disk1")))


if __name__ == "__main__":
    unittest.main()
