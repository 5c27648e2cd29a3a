"""Evolution beside its peers. Small matrices: threads of the linear algebra would only wait for each other."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
