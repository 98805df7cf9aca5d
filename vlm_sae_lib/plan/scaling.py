"""How long a stage takes on many workers, worked out from the rates of one: a simulation of the pipeline.

The stages are all alike: equal parts that need nothing of each other are given to whoever is free, and one process
enters what comes back, one part after the other. What all workers share (the disks that hold pictures and stores) has
a rate of its own.
"""

import heapq
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """What one worker takes, in seconds, and what a part moves.

    Attributes:
        part: the work on a part.
        hand_over: until a part's place is known to be free and the next part has reached it: Ray's share.
        enter: what the calling process does with a part that has come back.
        part_bytes: what a part reads from and writes to the disks that all workers share.
        shared_bytes_per_second: how quickly those disks read and write; infinite where they are no limit.
        first: what a worker's first part takes longer, as what all later ones find there is made in it.
    """

    part: float
    hand_over: float = 0.0
    enter: float = 0.0
    part_bytes: float = 0.0
    shared_bytes_per_second: float = math.inf
    first: float = 0.0


def seconds(parts: int, workers: int, rates: Rates) -> float:
    """From the moment when all workers are ready until the last part is entered.

    Each event is a part that is done: the disks serve one part after the other, and so does the calling process, so
    that whichever of workers, disks and process is slowest sets the pace.
    """
    free = [rates.first] * min(workers, parts)
    disks = entered = 0.0
    moving = rates.part_bytes / rates.shared_bytes_per_second
    heapq.heapify(free)
    for _ in range(parts):
        start = heapq.heappop(free)
        done = start + rates.hand_over + rates.part
        if moving:
            disks = max(disks, start) + moving
            done = max(done, disks)
        heapq.heappush(free, done)
        entered = max(entered, done) + rates.enter
    return entered


def most_workers(parts: int, rates: Rates, share: float = 0.5) -> int:
    """From how many workers on each of them does less than ``share`` of what one alone does: where it stops scaling."""
    alone = seconds(parts, 1, rates)
    workers = 1
    while workers < parts and alone / (2 * workers * seconds(parts, 2 * workers, rates)) >= share:
        workers *= 2
    return workers
