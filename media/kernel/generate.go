package kernel

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package kernel -type key -type rule -type slot -type control -output-stem forward program forward.c -- -O2 -Wall -Wextra -Werror -I/usr/include/x86_64-linux-gnu
