"""The ground that both packages stand on: arrays and the compiled core, ranks, files, terminal, class groups."""
