"""A pytest plugin (-p sanitized) that takes the kernel from a build with sanitizers."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

(PATH,) = Path(".cache/sanitized/unspool").glob(f"_kernel.{sys.implementation.cache_tag}*.so")

spec = spec_from_file_location("unspool._kernel", PATH)
kernel = module_from_spec(spec)
spec.loader.exec_module(kernel)
sys.modules["unspool._kernel"] = kernel
