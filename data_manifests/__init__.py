"""Data sets as data: one YAML file per source, read through `sarjepa.data.manifest_parser`.

A manifest holds what a person would otherwise have to know about a public data set: where it is, what may be done with
it, how its files are named, what its classes are, and how many chips there should be. The keys, with `?` where they may
be left out:

    name          the source's name, as on the command line; the file is <name>.yaml
    title         what people call it
    origin        page it comes from
    terms         licence or terms of use, in a sentence
    citation      how to cite it
    sensor, band, polarisation, resolution_m (metres, or null)
    notes?        a list of what a user of the data should know; they go on the card
    classes       class names; a label is an index into this list, never the file system's order
    open_classes? true where the list may not be complete: further names found in the paths are added behind it, sorted
    label_sets    {name: {classes: [...], where?: {column: [values]}}}: what an evaluation counts, and which chips
    benchmark?    {label_set, crop: px or null, pool: {kind: fraction-of-train | fraction-of-all, fraction}}
    chips?        {rule: native | centre-crop | tiles, size?, overlap?}; native where left out
    normalisation?  {method, per?: chip | set, and the method's own numbers}; as-stored where left out
    distributions   the forms in which the set is passed on; the first whose files are at hand is built

A distribution:

    name          for messages
    about         one sentence
    formats       content accepted: jpeg, png, tiff, npy, mat, phoenix
    files         list of {name, aka?: other names it has on people's disks, addresses?: in order of preference,
                  size?: bytes, sha256?, login: true where no script can fetch it, by_hand?: how a person gets it,
                  optional?: true}
    example       the path of one chip, as people see it who are told what was expected
    members       list of regular expressions; a file counts when one matches anywhere in its path. Named groups are
                  what the path says.
    skip?         list of regular expressions for files left out on purpose, without being listed as rejected
    columns?      {column: [rules]}: how named groups become columns. A rule is {from: group, map?: {text: text},
                  only?: true} or {value: text}; the first rule whose group took part in the match gives the value,
                  translated by `map`; with `only`, a text that `map` lacks passes on to the next rule. `from:
                  header.Key` reads the file's own header. Columns `class` and `split` have their meaning, every other
                  column is stored beside the chip. A column without rules is the named group as it stands.
    boxes?        {format: voc | yolo, find: pattern, replace: text, names?: {text: class}}: the box annotations
                  of a file are in the one whose name results from replacing `find` by `replace`; a name translated to
                  "" is left out
    normalisation?  in place of the set's
    expected?     {split: {class: count}} of the files as distributed, before tiling; class "" counts the whole split,
                  split "" is the one of chips without a split
    expected_side?  height and width (px) that every file should have, before tiling

Sets of which not even the layout of the files is known for sure stand in by_hand.yaml: title, origin, holds, terms,
citation, and `unverified`, the list of those keys that nobody has confirmed. Weights that others publish stand in
published_models.yaml.

Wherever a value stands, `{value: ..., unverified: true}` may stand instead: nobody has confirmed it against the source.
In a mapping that is not a plain value (a file, a distribution), `unverified: true` beside the other keys says it of the
whole. Nothing fails on an unverified value; the command says that it is one.
"""
