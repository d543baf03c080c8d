import unittest

from listing.pager import Pager


class PagerTest(unittest.TestCase):
    def test_partly_filled_last_page(self):
        pager = Pager(range(45), 20)
        self.assertEqual(pager.page_count, 3)
        self.assertEqual(pager.page(3), [40, 41, 42, 43, 44])

    def test_even_division_has_no_empty_page(self):
        pager = Pager(range(40), 20)
        self.assertEqual(pager.page_count, 2)
        self.assertFalse(pager.has_next(2))

    def test_no_items_is_one_empty_page(self):
        pager = Pager([], 20)
        self.assertEqual(pager.page_count, 1)
        self.assertEqual(pager.page(1), [])

    def test_unknown_page(self):
        with self.assertRaises(IndexError):
            Pager(range(5), 20).page(2)

    def test_links(self):
        self.assertEqual(Pager(range(95), 10).links(5, 1), [1, None, 4, 5, 6, None, 10])
