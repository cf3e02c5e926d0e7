"""The properties that every commit of this project carries: its run and step, its inputs, and its records."""

import json
from collections.abc import Mapping

# Keys of the transaction properties that every commit of rows carries.
ASSETS, RUN, STEP, BATCH = "mm.assets", "mm.run_id", "mm.step", "mm.batch"
CODE, INPUTS, RECORDS = "mm.code_versions", "mm.inputs", "mm.records"
# Every commit has a random mark of its own. A fence has the second one too.
MARK, FENCE = "mm.mark", "mm.fence"
# A commit that adds the columns of a later release, and changes no row, has the table's name here.
SCHEMA = "mm.schema"
# A fence, and a commit that adds columns, have their run here.
UPKEEP = "mm.upkeep"


def inputs_of(properties: Mapping[str, str]) -> dict[str, str]:
    """The inputs of a commit with these properties: data version by asset."""
    inputs: dict[str, str] = json.loads(properties.get(INPUTS, "{}"))
    return inputs
