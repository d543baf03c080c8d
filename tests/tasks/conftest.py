"""A real database file for each test."""

from tests.databases import database as database
from tests.databases import path as path
