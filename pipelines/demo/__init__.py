"""The demo: three trainings, one of them bad, from raw data to a published model.

    python -m tfx_registry.pipelines.demo --output-dir demo_output

`stages` runs it and knows nothing of terminals; `progress` measures it; `console` shows it;
`directory` makes room for it; `quiet` keeps the noise of the libraries out of the reader's face.
"""
