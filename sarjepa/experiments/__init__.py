"""The paper's tables and figures as data: which runs belong to each, and how large they are on which machine.

`scales.yaml` says how large a run is; every other file is one table or figure:

    title, about    what it shows, in a line and in a sentence
    measure         counts, few-shot, curve (fine-tuning) or attention
    published       the table of `reports/paper_results.yaml` that stands beside it, if any
    reference       the row that the others are compared with
    rows            name: {pretrain: {settings of `sarjepa pretrain`}, after: {settings of the run it starts from},
                    paper: name there, group: ..., at: ..., like: ROW or EXPERIMENT/ROW}
    SCALE           a section named after a scale lies on top of the above; only that scale reads it

A row that is `like` another has that row's keys and settings, and its own over them. A row with `baseline: untrained`
measures the reference's encoder before training, `baseline: pixels` (or log-pixels, ratio, hog) a feature without
weights, `baseline: imagenet` weights that the user gives. Rows of equal settings are the same run in all tables, which
is trained once. `group` and `at` are the axis of a row in a scaling figure and its place on the axis.
"""
