"""`python -m sarjepa`, which is also what torchrun starts (`torchrun -m sarjepa pretrain ...`)."""

from sarjepa.cli.app import main

if __name__ == "__main__":
    main()
