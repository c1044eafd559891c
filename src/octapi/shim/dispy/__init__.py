"""``import dispy`` for scripts under ``octapi run``: the same module object as ``octapi.dispy``."""

import sys

import octapi.dispy
import octapi.dispy.config

sys.modules[__name__] = octapi.dispy
sys.modules[__name__ + ".config"] = octapi.dispy.config
