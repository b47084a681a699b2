from __future__ import annotations

import threading

from queues.slots import Slots


def test_slots_are_occupied_and_released():
    slots = Slots(3)
    assert slots.wait_free(0) == 3
    slots.occupy(3)
    assert slots.wait_free(0) == 0
    slots.release(2)
    assert (slots.wait_free(0), slots.occupied) == (2, 1)


def test_a_release_ends_the_wait_for_a_free_slot():
    slots = Slots(1)
    slots.occupy(1)
    free: list[int] = []
    waiting = threading.Thread(target=lambda: free.append(slots.wait_free(10)))
    waiting.start()
    slots.release()
    waiting.join(10)
    assert free == [1]


def test_closing_leaves_no_slot_free_and_ends_every_wait():
    slots = Slots(2)
    slots.occupy(2)
    ended: list[int | bool] = []
    waiting = [
        threading.Thread(target=lambda: ended.append(slots.wait_free(10))),
        threading.Thread(target=lambda: ended.append(slots.wait_closed(10))),
    ]
    for thread in waiting:
        thread.start()
    slots.close()
    for thread in waiting:
        thread.join(10)
    assert sorted(ended) == [0, True]
    slots.release(2)
    assert slots.closed
    assert slots.wait_free(0) == 0
    assert slots.occupied == 0


def test_a_moment_is_given_to_several_to_become_free() -> None:
    slots = Slots(8)
    slots.occupy(8)
    free: list[int] = []
    waiting = threading.Thread(target=lambda: free.append(slots.wait_free(10, worth=2)))
    waiting.start()
    slots.release(1)
    waiting.join(10)  # one alone is not waited with for long
    assert len(free) == 1
    assert 1 <= free[0] < 8
    slots.release(2)
    assert slots.wait_free(0, worth=2) == 3
