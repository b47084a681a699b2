"""A file of ids: each of them is one job, wherever and however often it stands."""

from __future__ import annotations

import json
from pathlib import Path

from console.bulk.id_file import IdFile
from storage.db.ids import new_id


def test_an_id_that_stands_again_far_below_is_passed_over(tmp_path: Path) -> None:
    ids = [new_id() for _ in range(1200)]
    again = [str(ids[0]).upper(), json.dumps({"job_id": str(ids[1])}), ids[1199].hex, str(ids[700])]
    file = tmp_path / "ids"
    file.write_text("".join(f"{one}\n" for one in [ids[0], *ids, *again]))

    with IdFile(file) as kept:
        portions = list(kept.chunks(500))

        assert len(kept) == 1200
        assert [len(one) for one in portions] == [500, 500, 200]
        assert [one for portion in portions for one in portion] == ids
