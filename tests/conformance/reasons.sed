# Reasons that the failure itself does not tell: cases of libonnx-testdata 1.12 that contradict ONNX or themselves.
s/^\(node\/test_cast_FLOAT_to_BFLOAT16\): .*/\1: the expected data cut bfloat16 off where ONNX rounds to nearest (0.8191 is 0.8203125, expected 0.81640625)/
s/^\(node\/test_castlike_[A-Z0-9]*BFLOAT16[A-Za-z0-9_]*\): .*/\1: the data of "like" have the shape [1], the model declares [3,4]/
s/^\(node\/test_castlike_FLOAT_to_BFLOAT16[a-z_]*\): .*/\1: the data of "like" have the shape [1], the model declares [3,4]/
