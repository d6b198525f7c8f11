# SPDX-License-Identifier: GPL-2.0
"""The one exception a person is meant to read: what went wrong, and what to do next."""


class Failure(Exception):
    """Something outside the test's own assertions failed. The text names cause and next step."""
