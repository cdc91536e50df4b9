{
  # One static library of the data plane, and its two faces: the addon for Node and the lean server program. What runs
  # in the kernel is compiled first, and carried by the server as bytes.
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
      "target_name": "bpf_objects",
      "type": "none",
      "hard_dependency": 1,
      "actions": [
        {
          "action_name": "loop",
          "inputs": ["<!@(ls bpf/*.c bpf/*.h bpf/compile.sh core/*.h)"],
          "outputs": ["<(SHARED_INTERMEDIATE_DIR)/bpf/loop_object.h"],
          "action": ["bash", "bpf/compile.sh", "loop", "<@(_outputs)"]
        }
      ],
      "direct_dependent_settings": {
        "include_dirs": ["<(SHARED_INTERMEDIATE_DIR)"]
      }
    },
    {
      "target_name": "data_plane",
      "type": "static_library",
      "dependencies": ["bpf_objects"],
      "sources": ["<!@(cat sources.txt)"]
    },
    {
      "target_name": "ublk-stack-server",
      "type": "executable",
      "dependencies": ["data_plane"],
      "sources": ["server/main.cc"],
      "libraries": ["-luring", "-lz", "-lzstd"],
      "ldflags": ["-pthread", "-Wl,--gc-sections"],
      "ldflags!": ["-rdynamic"]
    },
    {
      "target_name": "ublk_stack",
      "dependencies": ["data_plane"],
      "sources": ["<!@(ls addon/*.cc)"],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NODE_ADDON_API_CPP_EXCEPTIONS"],
      "libraries": ["-luring", "-lz", "-lzstd"]
    }
  ]
}
