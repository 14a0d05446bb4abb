"""Folders of training runs, and tables of them."""
