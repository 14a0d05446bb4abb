"""The methods of training: a file each, found by their file's name (`vltr_train.method.find_method`)."""
