#include "block/joint_io.h"

#include <algorithm>
#include <utility>

namespace bellhop {

namespace {

bool can_join(const BlockIo& io) noexcept {
  return (io.op == BlockOp::kRead || io.op == BlockOp::kWrite) && io.scratch.bounce == nullptr &&
         io.scratch.progress == 0 && !io.scratch.alone;
}

bool fits_behind(const BlockIo& first, std::uint64_t bytes, std::size_t spans, const BlockIo& next,
                 std::uint64_t max_bytes) noexcept {
  return next.op == first.op && next.offset == first.offset + bytes && can_join(next) &&
         bytes + next.length <= max_bytes && spans + next.data.size() <= JointIo::kMaxSpans;
}

void append(JointIo& joint, BlockIo& part) noexcept {
  std::ranges::copy(part.data,
                    joint.spans.begin() + static_cast<std::ptrdiff_t>(joint.data.size()));
  joint.data = {joint.spans.data(), joint.data.size() + part.data.size()};
  joint.length += part.length;
  joint.parts.push(part);
}

}  // namespace

JointPool::JointPool(void* owner, Completed completed)
    : joints_(std::make_unique<JointIo[]>(kJoints)) {
  for (std::size_t i = kJoints; i-- > 0;) {
    joints_[i].owner = owner;
    joints_[i].completed = completed;
    give_back(joints_[i]);
  }
}

JointIo* JointPool::take() noexcept {
  return free_ == nullptr ? nullptr : std::exchange(free_, free_->next_free);
}

void JointPool::give_back(JointIo& joint) noexcept {
  joint.next_free = std::exchange(free_, &joint);
}

unsigned JointPool::join(IoList& list, std::uint64_t max_bytes) noexcept {
  unsigned made = 0;
  IoList all = std::exchange(list, {});
  while (BlockIo* const first = all.pop()) {
    BlockIo* const next = all.front();
    JointIo* joint = nullptr;
    if (next != nullptr && can_join(*first) && first->data.size() < JointIo::kMaxSpans &&
        fits_behind(*first, first->length, first->data.size(), *next, max_bytes)) {
      joint = take();
    }
    if (joint == nullptr) {
      list.push(*first);
      continue;
    }
    ++made;
    joint->op = first->op;
    joint->offset = first->offset;
    joint->length = 0;
    joint->data = {};
    joint->scratch = {};
    joint->scratch.queue = first->scratch.queue;
    append(*joint, *first);
    while (!all.empty() &&
           fits_behind(*joint, joint->length, joint->data.size(), *all.front(), max_bytes)) {
      append(*joint, *all.pop());
    }
    list.push(*joint);
  }
  return made;
}

}  // namespace bellhop
