// Giving up what is no longer needed. Capabilities are each thread's own, so every thread that serves does
// it.
#pragma once

namespace us {

// Of the calling thread, and of those that it starts from now on: descriptors are open, commands are issued.
// Does nothing for plain users.
void drop_capabilities();

} // namespace us
