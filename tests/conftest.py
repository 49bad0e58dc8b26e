"""Let tests import the helpers beside them (`fake_env`), whichever import mode pytest runs in."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
