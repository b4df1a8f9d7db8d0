"""What several commands share.

- built: opening built sources, finding finished runs. downstream: a data set and an encoder made ready for evaluation.
- evaluate: probes and fine-tuning of a draw. records: what is written of them. class_report: the report of one of them.
- classifier: a classifier as a file.
- labelling: what a saved classifier says of a source.
- run_method: a pre-training method from the settings of its run. run_store: results that survive an interruption.
- result: what every command returns, and the folder it writes to.
"""
