{
  # One static library of the data plane, and its two faces: the addon for Node and the lean server program.
  "target_defaults": {
    "include_dirs": ["."],
    "cflags": ["-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"],
    "cflags!": ["-fno-omit-frame-pointer"],
    "cflags_cc": ["-std=c++20", "-fexceptions", "-frtti"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-exceptions", "-fno-rtti"],
    "default_configuration": "Release",
    "configurations": {
      "Release": { "cflags": ["-O2"], "cflags!": ["-O3"] }
    }
  },
  "targets": [
    {
      "target_name": "data_plane",
      "type": "static_library",
      "sources": ["<!@(cat sources.txt)"]
    },
    {
      "target_name": "ublk-stack-server",
      "type": "executable",
      "dependencies": ["data_plane"],
      "sources": ["server/main.cc"],
      "libraries": ["-luring"],
      "ldflags": ["-pthread", "-Wl,--gc-sections"],
      "ldflags!": ["-rdynamic"]
    },
    {
      "target_name": "ublk_stack",
      "dependencies": ["data_plane"],
      "sources": ["<!@(ls addon/*.cc)"],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NODE_ADDON_API_CPP_EXCEPTIONS"],
      "libraries": ["-luring"]
    }
  ]
}
