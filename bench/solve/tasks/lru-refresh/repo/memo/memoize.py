"""Wraps a function so that its results are kept."""

from functools import wraps

from memo.cache import LruCache


def memoize(capacity=128):
    def decorate(function):
        cache = LruCache(capacity)

        @wraps(function)
        def wrapper(*arguments):
            if arguments in cache:
                return cache.get(arguments)
            result = function(*arguments)
            cache.put(arguments, result)
            return result

        wrapper.cache = cache
        return wrapper

    return decorate
