/* The notification protocol of a packed ring: one ring of descriptors whose flags say whose each is,
 * and an event suppression area on each side. What each part stands for in the code is in README.md.
 *
 * A device with an I/O thread, woken by an ioeventfd; how a queue changes between that and vCPUs
 * that drain it is the same for every ring, and in notify.pml.
 *
 * Memory is x86-TSO, as in notify.pml. Places count up from 0: place p is descriptor p % SIZE, in a
 * round whose wrap counter is 1 if p / SIZE is even. A ring wraps in the middle of a chain here.
 *
 * Set from outside (run_model):
 *   EVENT_IDX       the areas name an event (DESC); else they say ENABLE or DISABLE only
 *   REQUESTS, SPURIOUS    how many requests; how many spurious kicks are allowed
 *   WITHOUT_..., and names with BEFORE    one part of the protocol left out, or in the wrong order:
 *                   each must be found wrong
 */

#ifndef REQUESTS
#define REQUESTS 3
#endif
#ifndef SPURIOUS
#define SPURIOUS REQUESTS
#endif
#define SIZE 3
#define ROUNDS 2

/* Descriptors of a request: 1, 2, 1, 2... */
#define LENGTH(k) (1 + (k) % 2)
#define WRAP(p) (((p) / SIZE + 1) % 2)

/* The flags of a descriptor: AVAIL in bit 0, USED in bit 1. */
#define AVAILABLE(p) (WRAP(p) -> 1 : 2)
#define USED(p) (WRAP(p) -> 3 : 0)

/* What both sides see: flags, then what a descriptor says (the number of its request from 1 on), then
 * the device's event and flags, then the driver's. */
#define FLAGS_OF(p) ((p) % SIZE)
#define SAYS(p) (SIZE + (p) % SIZE)
#define DEVICE_EVENT (2 * SIZE)
#define DEVICE_FLAGS (2 * SIZE + 1)
#define DRIVER_EVENT (2 * SIZE + 2)
#define DRIVER_FLAGS (2 * SIZE + 3)
byte memory[2 * SIZE + 4];

#define ENABLE 0
#define DISABLE 1
#define DESC 2

/* Processor 0 runs the guest, 1 the I/O thread. */
chan buffer[2] = [2] of { byte, byte };

#define STORE(p, word, value) buffer[p] ! word, value
#define FENCE(p) (empty(buffer[p]))

active [2] proctype StoreBuffer() {
  byte word, value;
end:
  do
  :: atomic { buffer[_pid] ? word, value; memory[word] = value; word = 0; value = 0 }
  od
}

/* Whether a step of `count` descriptors up to place `to` passes the event, which is an index with a
 * wrap counter: packed_need_event(). */
#ifdef WITHOUT_WRAP_OF_EVENT
#define ROUND_AGO(event, to) 0
#else
#define ROUND_AGO(event, to) ((event) / SIZE != WRAP(to) -> SIZE : 0)
#endif
#define NEED_EVENT(event, to, count) \
  ((to) % SIZE + 255 - (event) % SIZE + ROUND_AGO(event, to)) % 256 < (count)
#define EVENT_AT(p) ((p) % SIZE + SIZE * WRAP(p))

/* The driver's own. */
byte added, reaped;          /* requests */
byte next_avail, next_reap;  /* places */
bool interrupt;              /* pending at the vCPU */

/* The device's own. */
byte taken;                  /* requests */
byte next_taken, next_used;  /* places */
byte unpublished;            /* descriptors of the batch that is not shown yet */
bool in_host[REQUESTS];      /* a medium that completes later, in any order */
byte left_in_host;
byte spurious_kicks;

bool event;                  /* the eventfd */
bool message;                /* to the I/O thread: look at the queue once */
bool suppressed = true;      /* the I/O thread is awake, and told the driver not to kick */

#define HAS_AVAILABLE (memory[FLAGS_OF(next_taken)] == AVAILABLE(next_taken))
#define HAS_USED (memory[FLAGS_OF(next_reap)] == USED(next_reap))

/* The used descriptor of request k: all of it but the flags of a batch's first. */
inline complete(k) {
#ifdef FLAGS_BEFORE_ID
  STORE(1, FLAGS_OF(next_used), USED(next_used));
  STORE(1, SAYS(next_used), k + 1);
#else
  STORE(1, SAYS(next_used), k + 1);
  if
  :: unpublished != 0 -> STORE(1, FLAGS_OF(next_used), USED(next_used))
  :: else
  fi;
#endif
#ifdef WITHOUT_SKIP
  atomic { next_used++; unpublished++ }
#else
  atomic { next_used = next_used + LENGTH(k); unpublished = unpublished + LENGTH(k) }
#endif
}

inline publish() {
  if
  :: unpublished != 0 ->
     STORE(1, FLAGS_OF(next_used - unpublished), USED(next_used - unpublished));
#ifndef WITHOUT_PUBLISH_FENCE
     FENCE(1);
#endif
     wanted = memory[DRIVER_FLAGS];
     if
     :: wanted == ENABLE -> interrupt = true
     :: wanted == DESC ->
        if
        :: atomic { NEED_EVENT(memory[DRIVER_EVENT], next_used, unpublished) -> interrupt = true }
        :: else
        fi
     :: else
     fi;
     atomic { unpublished = 0; wanted = 0 }
  :: else
  fi
}

inline drain() {
  STORE(1, DEVICE_FLAGS, DISABLE);
  do
  :: atomic { HAS_AVAILABLE -> took = true }
     /* All of the chain is there when its first flags are. */
     assert(memory[SAYS(next_taken)] == taken + 1);
     assert(LENGTH(taken) == 1 || memory[SAYS(next_taken + 1)] == taken + 1);
     atomic { index = taken; taken++; next_taken = next_taken + LENGTH(index) }
     if
     :: complete(index);
#ifdef EVENT_IDX
        publish()
#endif
     :: atomic { in_host[index] = true; left_in_host++ }
     fi;
     index = 0
  :: else -> break
  od;
  publish();
  atomic {
    if
    :: first && !took -> spurious_kicks++; assert(spurious_kicks <= SPURIOUS)
    :: else
    fi;
    first = false;
    took = false
  }
}

inline enable_kicks() {
#ifdef EVENT_IDX
  STORE(1, DEVICE_EVENT, EVENT_AT(next_taken));
  STORE(1, DEVICE_FLAGS, DESC);
#else
  STORE(1, DEVICE_FLAGS, ENABLE);
#endif
#ifndef WITHOUT_DEVICE_FENCE
  FENCE(1);
#endif
#ifdef WITHOUT_SECOND_LOOK
  again = false
#else
  again = HAS_AVAILABLE
#endif
}

inline serve(kicked) {
  atomic { again = kicked || HAS_AVAILABLE; first = kicked; round = 0 }
  if
  :: again -> suppressed = true
  :: else
  fi;
  do
  :: !again -> break
  :: again && round == ROUNDS -> message = true; break /* others get their turn */
  :: else ->
     round++;
     drain();
     again = HAS_AVAILABLE
  od;
  atomic { again = false; first = false; round = 0 }
}

active proctype IoThread() {
  byte index, round, wanted;
  bool again, first, took;
end:
  do
  :: atomic { event && empty(buffer[1]) -> event = false }
     serve(true)
  :: atomic { message && empty(buffer[1]) -> message = false }
     serve(false)
  :: atomic { left_in_host > 0 -> left_in_host-- }
     atomic {
       if
       :: in_host[0] -> index = 0
       :: in_host[1] -> index = 1
#if REQUESTS > 2
       :: in_host[2] -> index = 2
#endif
       fi;
       in_host[index] = false
     }
     complete(index);
     publish();
     index = 0
  :: atomic { suppressed && HAS_AVAILABLE -> skip }
     serve(false) /* it looks before it sleeps, for a while */
  :: atomic { suppressed -> suppressed = false } /* it means to sleep */
     enable_kicks();
     if
     :: again -> serve(false)
     :: else
     fi
  od
}

/* One descriptor: what it says, and, unless it is the first that is offered, its flags. */
inline put() {
  STORE(0, SAYS(next_avail), added + 1);
  if
  :: next_avail != begin -> STORE(0, FLAGS_OF(next_avail), AVAILABLE(next_avail))
#ifdef FIRST_BEFORE_REST
  :: next_avail == begin -> STORE(0, FLAGS_OF(next_avail), AVAILABLE(next_avail))
#else
  :: else
#endif
  fi;
  next_avail++
}

inline add() {
  put();
  if
  :: LENGTH(added) == 2 -> put()
  :: else
  fi;
  added++
}

#define FREE(k) (next_avail - next_reap + LENGTH(k) <= SIZE)

inline reap() {
  do
  :: STORE(0, DRIVER_FLAGS, DISABLE);
     do
     :: HAS_USED ->
        atomic {
          id = memory[SAYS(next_reap)];
          assert(id > 0 && id <= added && !seen[id - 1]);
          seen[id - 1] = true;
          next_reap = next_reap + LENGTH(id - 1);
          reaped++;
          id = 0
        }
     :: else -> break
     od;
#ifdef EVENT_IDX
     STORE(0, DRIVER_EVENT, EVENT_AT(next_reap));
     STORE(0, DRIVER_FLAGS, DESC);
#else
     STORE(0, DRIVER_FLAGS, ENABLE);
#endif
#ifndef WITHOUT_DRIVER_REAP_FENCE
     FENCE(0);
#endif
     if
     :: HAS_USED
     :: else -> break
     fi
  od
}

active proctype Driver() {
  byte begin, wanted, id;
  bool seen[REQUESTS];
  do
  :: reaped == REQUESTS -> break
  :: added < REQUESTS && FREE(added) ->
     /* One request, or two by one kick. */
     begin = next_avail;
     add();
     if
     :: added < REQUESTS && FREE(added) -> add()
     :: skip
     fi;
#ifndef FIRST_BEFORE_REST
     STORE(0, FLAGS_OF(begin), AVAILABLE(begin));
#endif
#ifndef WITHOUT_DRIVER_KICK_FENCE
     FENCE(0);
#endif
     wanted = memory[DEVICE_FLAGS];
     if
     :: wanted == ENABLE -> FENCE(0); event = true
     :: wanted == DESC ->
        if
        :: NEED_EVENT(memory[DEVICE_EVENT], next_avail, next_avail - begin) ->
           FENCE(0);
           event = true
        :: else
        fi
     :: else
     fi;
     atomic { begin = 0; wanted = 0 }
  :: added > reaped ->
     /* Halted: nothing but an interrupt goes on from here. */
     atomic { interrupt -> interrupt = false }
     reap()
  od
}
