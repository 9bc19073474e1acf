"""The generator: C++, TypeScript and documentation out of kernels/*/op.json and the other declarations."""
