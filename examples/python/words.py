"""Counts the words of a text: the most frequent first."""

import re
from collections import Counter


def handle(params):
    words = Counter(re.findall(r"\w+", params["text"].lower()))
    return {"words": words.total(), "most": words.most_common(params.get("most", 3))}
