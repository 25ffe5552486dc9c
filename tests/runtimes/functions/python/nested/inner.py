"""A handler in a folder; its neighbours at the root are importable."""

import gate
import python_api


def handler(event, context):
    return [gate.__name__, python_api.OURS]
