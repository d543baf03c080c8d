import unittest

from transport.retry import Backoff, GiveUp, call_with_retry


class BackoffTest(unittest.TestCase):
    def test_no_failure_no_pause(self):
        self.assertEqual(Backoff().pause(0), 0)

    def test_doubles(self):
        self.assertEqual(Backoff(1, 60, 5).pauses(), [1, 2, 4, 8])

    def test_never_longer_than_the_most(self):
        self.assertEqual(Backoff(10, 60).pause(12), 60)


class RetryTest(unittest.TestCase):
    def test_works_at_once(self):
        slept = []
        self.assertEqual(call_with_retry(lambda: 7, Backoff(), slept.append), 7)
        self.assertEqual(slept, [])

    def test_works_later(self):
        answers = [OSError(), OSError(), 5]
        slept = []

        def call():
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        self.assertEqual(call_with_retry(call, Backoff(1, 60), slept.append), 5)
        self.assertEqual(slept, [1, 2])

    def test_gives_up(self):
        def call():
            raise OSError

        with self.assertRaises(GiveUp):
            call_with_retry(call, Backoff(tries=2), lambda seconds: None)


if __name__ == "__main__":
    unittest.main()
