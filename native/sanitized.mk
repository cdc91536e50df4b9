# Server and unit tests under AddressSanitizer and UndefinedBehaviorSanitizer, from the same list of sources as the
# real build. Run by build-sanitized.sh, in this folder. The simulators in test/ link the library's objects of here.
out := build/Sanitized
library := $(shell cat sources.txt)
tests := $(wildcard ../test/native/*.cc)

libraries := -luring -lz -lzstd
bpf_sources := $(wildcard bpf/*.c bpf/*.h bpf/compile.sh core/*.h)

CXXFLAGS := -std=c++20 -Wall -Wextra -Werror -O1 -g1 -I. -I$(out) -MMD -MP -pthread \
	-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS := -fsanitize=address,undefined -pthread

library_objects := $(library:%.cc=$(out)/%.o)
server_objects := $(out)/server/main.o $(library_objects)
tests_objects := $(tests:../%.cc=$(out)/%.o) $(library_objects)

all: $(out)/ublk-stack-server $(out)/unit-tests

library: $(library_objects)
qcow2: $(filter $(out)/targets/qcow2/%,$(library_objects))

$(out)/ublk-stack-server: $(server_objects)
	$(CXX) $(LDFLAGS) -o $@ $^ $(libraries)
$(out)/unit-tests: $(tests_objects)
	$(CXX) $(LDFLAGS) -o $@ $^ $(libraries)

$(out)/frontends/ublk/program_image.o: $(out)/bpf/loop_object.h
$(out)/bpf/%_object.h: $(bpf_sources)
	bash bpf/compile.sh $* $@

$(out)/test/%.o: ../test/%.cc
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -c -o $@ $<
$(out)/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -c -o $@ $<

-include $(shell find $(out) -name '*.d' 2>/dev/null)

.PHONY: all library qcow2
.DELETE_ON_ERROR:
