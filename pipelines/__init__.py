"""Example pipelines and their runners."""

if __name__ != "tfx_registry.pipelines":
    raise ImportError(
        "import tfx_registry.pipelines instead of pipelines: a second copy of the same classes "
        "would register a second set of types in ML Metadata"
    )
