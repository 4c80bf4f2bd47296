# Sourced by demo and test: the tree, and a configured and built preset.
tree=$(cd "$(dirname "$0")/.." && pwd)

# configure_and_build PRESET [TARGET...]; further cmake arguments in $cmake_arguments
configure_and_build() {
  preset=$1
  shift
  launcher=""
  if command -v ccache > /dev/null; then
    launcher="-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache"
  fi
  # shellcheck disable=SC2086
  said=$(cd "$tree" && cmake --preset "$preset" $launcher ${cmake_arguments:-} 2>&1) || { echo "$said"; exit 1; }
  if [ $# -eq 0 ]; then
    cmake --build "$tree/build/$preset"
  else
    cmake --build "$tree/build/$preset" --target "$@"
  fi
}
