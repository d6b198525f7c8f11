# SPDX-License-Identifier: GPL-2.0
"""Boots a kernel under QEMU, plugs and unplugs its memory, and reads back what the guest sees."""
