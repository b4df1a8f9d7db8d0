"""What probe, finetune and fewshot-bench share: the record of a run, its report, labels from a saved classifier."""
