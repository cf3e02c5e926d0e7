"""The properties that every commit of this project carries: who made it, from what, with which records."""

import json
from collections.abc import Mapping

# Keys of the transaction properties that every commit of rows carries.
ASSETS, RUN, STEP, BATCH = "mm.assets", "mm.run_id", "mm.step", "mm.batch"
CODE, INPUTS, RECORDS = "mm.code_versions", "mm.inputs", "mm.records"
# Of every commit its own random mark; of the commit that goes before a clean-up, that it is a fence.
MARK, FENCE = "mm.mark", "mm.fence"
# Of a commit that adds the columns of a later release, and changes no row.
SCHEMA = "mm.schema"
# Of a fence, and of such columns: the run that put it there.
UPKEEP = "mm.upkeep"


def inputs_of(properties: Mapping[str, str]) -> dict[str, str]:
    """Data version by asset, of what the commit with these properties was made from."""
    inputs: dict[str, str] = json.loads(properties.get(INPUTS, "{}"))
    return inputs
