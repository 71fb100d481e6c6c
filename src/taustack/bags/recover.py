"""Rewrites what can still be read of a damaged bag."""

from __future__ import annotations

from pathlib import Path

from taustack.bags.reader import Bag, open_bag
from taustack.bags.types import typestore
from taustack.bags.whole import whole_folder
from taustack.bags.writer import BagTopic, BagWriter
from taustack.errors import BadInput


def recover(source: Path, target: Path) -> tuple[Bag, dict[str, int]]:
    """Copy every message that can be read into a new bag at `target`; the old one is left as it is.

    Returns:
        The old bag with its problems, and how many messages of each topic were saved.

    Raises:
        BadInput: no bag at `source`, `target` is there already, or nothing can be read.
    """
    types: dict[str, str] = {}
    first = open_bag(source)
    for message in first.messages():
        types.setdefault(message.topic, message.type)
    known = {topic: kind for topic, kind in types.items() if kind in typestore().fielddefs}
    if not known:
        raise BadInput(source, "", "; ".join(first.problems) or "no message of a known type", "a bag with at least one message that can be read")
    with whole_folder(target) as part:
        writer = BagWriter(part, [BagTopic(name=topic, type=kind) for topic, kind in known.items()], first.about, first.attachments)
        for message in open_bag(source).messages():
            if known.get(message.topic) == message.type:
                writer.write(message.topic, message.data, message.log_ns, message.publish_ns, message.sequence)
        writer.close()
    for topic in set(types) - set(known):
        first.problems.append(f"{topic}: type {types[topic]} is not known, its messages are left out")
    return first, writer.counts
