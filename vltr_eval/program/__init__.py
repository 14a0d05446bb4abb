"""The program vltr-eval."""
