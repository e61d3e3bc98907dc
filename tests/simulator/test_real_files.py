"""Every real file that pydicom carries, sent to the simulator."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.dicom_files import pydicom_files

if TYPE_CHECKING:
    from tests.simulator.support import Api, Clock

# Real files break the standard, and pydicom says so in warnings wherever it decodes a value.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


async def test_each_real_file_is_taken_or_refused_with_a_reason(api: Api) -> None:
    statuses = Counter[int]()
    for file in pydicom_files():
        answer = await api.post_study([file])
        statuses[answer.status] += 1
        if answer.status == 400:
            assert "Part 1 is not a whole DICOM file: " in answer.json()["message"]
    assert set(statuses) == {200, 400}
    assert statuses[200] > 100


async def test_each_study_of_real_files_gets_results(api: Api, clock: Clock) -> None:
    for file in pydicom_files():
        await api.post_study([file])
    clock.now += 2
    drawn = 0
    for uid, account in api.simulator.account.items():
        found = (await api.get(f"/v3/smarturgences/{uid}")).json()["instances"]
        measured = (await api.get(f"/v3/smartxpert/{uid}")).json()["instances"]
        for instances in (found, measured):
            assert {each["SOPInstanceUID"] for each in instances} == set(account.instances)
        drawn += sum(bool(each["measures"]) for each in measured)
        results = (await api.results(uid)).datasets()
        assert {result.StudyInstanceUID for result in results} == {uid}
        *images, recap = results
        assert len(images) == len(account.instances)
        assert len({images[0].SeriesInstanceUID, recap.SeriesInstanceUID}) == 2
        assert {image.SeriesInstanceUID for image in images} == {images[0].SeriesInstanceUID}
        assert len({result.SOPInstanceUID for result in results}) == len(results)
    assert drawn > 50
