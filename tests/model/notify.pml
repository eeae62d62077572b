/* The notification protocol of one queue: kicks one way, interrupts the other, and the life of the
 * doorbell. What each part stands for in the code is in README.md.
 *
 * Memory is x86-TSO: a store goes to its processor's buffer and reaches memory some time later, in
 * order; a fence waits for the buffer to empty. No processor reads a word that it writes itself
 * except through its own variables, so loads need not look into the buffer. Indices count up from
 * 0 and do not wrap: wrapping is arithmetic, and has unit tests.
 *
 * Set from outside (run_model):
 *   EVENT_IDX            suppression by avail_event and used_event; else by flags
 *   SYNC                 kicks are vCPU exits that drain the queue themselves
 *   SYNC, VCPUS          the same, with the exit on one vCPU while the driver runs on another
 *   LIFE                 a doorbell that is armed, then disarmed and followed by SYNC
 *   CHANGE               a queue that runs on an ioeventfd, is stopped, goes on as SYNC, and back
 *   AWAKE                an I/O thread that may ask for kicks while it is awake
 *   REQUESTS, SPURIOUS    how many requests; how many spurious kicks are allowed
 *   WITHOUT_...          one part of the protocol left out: each must be found wrong
 */

#ifndef REQUESTS
#define REQUESTS 3
#endif
#ifndef SPURIOUS
#define SPURIOUS REQUESTS
#endif
#define ROUNDS 2 /* of one drain before it gives way to other queues */

/* The words that both sides see, each written by one side only. */
#define AVAIL_IDX 0
#define USED_IDX 1
#define KICK_WISH 2 /* avail_event, or the flag NO_NOTIFY */
#define BELL_WISH 3 /* used_event, or the flag NO_INTERRUPT */
byte memory[4];

/* Processor 0 runs the guest (and, in SYNC, drains); 1 runs the I/O thread; 2, in VCPUS, another
 * vCPU, which drains. */
#ifdef VCPUS
#define PROCESSORS 3
#else
#define PROCESSORS 2
#endif
chan buffer[PROCESSORS] = [2] of { byte, byte };

#define STORE(p, word, value) buffer[p] ! word, value
#define FENCE(p) (empty(buffer[p]))

active [PROCESSORS] proctype StoreBuffer() {
  byte word, value;
end:
  do
  :: atomic { buffer[_pid] ? word, value; memory[word] = value; word = 0; value = 0 }
  od
}

/* The driver's own. */
byte added, reaped;
bool interrupt; /* pending at the vCPU */

/* The device's own, under the queue lock in SYNC. */
byte next_avail, completed, published, in_host;
byte served[REQUESTS];
byte spurious_kicks;
bool queue_lock; /* held */

/* The doorbell's. */
bool event;   /* the eventfd */
bool message; /* to the I/O thread: look at the queue once */
bool watched = true;
#if defined(SYNC)
bool armed = false, sync_mode = true;
#elif defined(LIFE)
bool armed = false, sync_mode = false; /* the queue runs, but nobody listens to its kicks yet */
#else
bool armed = true, sync_mode = false;
#endif

#if defined(SYNC) || defined(LIFE) || defined(CHANGE)
#define TWO_DRAINERS
#endif
#if defined(TWO_DRAINERS) && !defined(WITHOUT_QUEUE_LOCK)
/* Taking and giving back a mutex are locked instructions: full fences. */
#define TAKE_QUEUE_LOCK(p) atomic { !queue_lock && empty(buffer[p]) -> queue_lock = true }
#define GIVE_QUEUE_LOCK(p) atomic { empty(buffer[p]) -> queue_lock = false }
#else
#define TAKE_QUEUE_LOCK(p) FENCE(p)
#define GIVE_QUEUE_LOCK(p) FENCE(p)
#endif

#ifdef CHANGE
/* The I/O thread takes the lock only where a vCPU drains, and does one thing at a time: what the
 * control thread has it do (run_sync) comes between two of its own. */
bool ring = true; /* there is one, and it is not about to stop */
bool io_busy;
#define IO_IDLE (!io_busy)
#define IO_BEGIN io_busy = true
#define IO_END atomic { io_busy = false; io_took = false }
#define TAKE_IO_LOCK \
  if \
  :: atomic { sync_mode -> io_took = true } TAKE_QUEUE_LOCK(1) \
  :: else \
  fi
#define GIVE_IO_LOCK \
  if \
  :: io_took -> GIVE_QUEUE_LOCK(1) \
  :: else \
  fi
#define RING ring
#else
#define IO_IDLE true
#define IO_BEGIN skip
#define IO_END skip
#define TAKE_IO_LOCK TAKE_QUEUE_LOCK(1)
#define GIVE_IO_LOCK GIVE_QUEUE_LOCK(1)
#define RING true
#endif

inline publish(p) {
  if
  :: atomic { completed != published -> old = published; published = completed; now = completed }
     STORE(p, USED_IDX, now);
#ifndef WITHOUT_PUBLISH_FENCE
     FENCE(p);
#endif
#ifdef EVENT_IDX
     if
     :: atomic { memory[BELL_WISH] >= old && memory[BELL_WISH] < now -> interrupt = true }
#else
     if
     :: atomic { memory[BELL_WISH] == 0 -> interrupt = true }
#endif
     :: else
     fi
  :: else
  fi;
  atomic { old = 0; now = 0 }
}

/* One pass of the draining loop. */
inline drain(p) {
#ifndef EVENT_IDX
  STORE(p, KICK_WISH, 1); /* suppress; with EVENT_IDX the old avail_event does it */
#endif
  /* Pop all, enqueueing each with the back end. */
  do
  :: atomic { memory[AVAIL_IDX] != next_avail -> index = next_avail; took = true }
     atomic { served[index]++; assert(served[index] == 1); next_avail = index + 1; index = 0 }
     if
     :: completed++; /* a medium that completes at once */
#ifdef EVENT_IDX
        publish(p)   /* ... shows each as it comes */
#endif
     :: in_host++    /* one that completes later, on the I/O thread */
     fi
  :: else -> break
  od;
#ifdef AWAKE
  if
  :: !sync_mode -> /* no fence, no second look: the thread looks at the ring all the same */
#ifdef EVENT_IDX
     STORE(p, KICK_WISH, next_avail)
#else
     STORE(p, KICK_WISH, 0)
#endif
  :: skip
  fi;
#endif
  publish(p);
  atomic {
    if
    :: first && !took -> spurious_kicks++; assert(spurious_kicks <= SPURIOUS)
    :: else
    fi;
    first = false;
    took = false
  }
}

/* Asks for kicks, and looks once more: `again` if something came meanwhile. */
inline enable_kicks(p) {
#ifdef EVENT_IDX
  STORE(p, KICK_WISH, next_avail);
#else
  STORE(p, KICK_WISH, 0);
#endif
#ifndef WITHOUT_DEVICE_FENCE
  FENCE(p);
#endif
#ifdef WITHOUT_SECOND_LOOK
  again = false
#else
  again = (memory[AVAIL_IDX] != next_avail)
#endif
}

/* The I/O thread: kicks stay suppressed from here until it is about to sleep. */
inline serve(p, kicked) {
  atomic { again = kicked || memory[AVAIL_IDX] != next_avail; first = kicked; round = 0 }
  if
  :: again -> suppressed = true
  :: else
  fi;
  do
  :: !again -> break
  :: again && round == ROUNDS -> message = true; break /* others get their turn */
  :: else ->
     round++;
     drain(p);
     again = (memory[AVAIL_IDX] != next_avail)
  od;
  atomic { again = false; first = false; round = 0 }
}

/* A vCPU thread, for the length of one kick. */
inline serve_sync(p, kicked) {
  atomic { again = true; first = kicked; round = 0 }
  do
  :: !again -> break
  :: again && round == ROUNDS ->
#ifndef WITHOUT_SELF_KICK
     message = true;
#endif
     break
  :: else ->
     round++;
     drain(p);
     enable_kicks(p)
  od;
  atomic { again = false; first = false; round = 0 }
}

bool suppressed = true; /* the I/O thread is awake, and told the driver not to kick */

active proctype IoThread() {
  byte old, now, index, round;
  bool again, first, took;
#ifdef CHANGE
  bool io_took;
#endif
end:
  do
  :: atomic { IO_IDLE && watched && event && empty(buffer[1]) -> event = false; IO_BEGIN }
     TAKE_IO_LOCK;
     if
     :: RING -> serve(1, true)
     :: else
     fi;
     GIVE_IO_LOCK;
     IO_END
  :: atomic { IO_IDLE && message && empty(buffer[1]) -> message = false; IO_BEGIN }
     TAKE_IO_LOCK;
     if
     :: !RING
     :: RING && sync_mode -> serve_sync(1, false)
     :: RING && !sync_mode -> serve(1, false)
     fi;
     GIVE_IO_LOCK;
     IO_END
  :: atomic { IO_IDLE && in_host > 0 -> IO_BEGIN }
     TAKE_IO_LOCK;
     atomic { in_host--; completed++ }
     publish(1);
     GIVE_IO_LOCK;
     IO_END
  :: atomic { IO_IDLE && watched && !sync_mode && suppressed && memory[AVAIL_IDX] != next_avail ->
              IO_BEGIN }
     /* It looks before it sleeps, for a while. */
     TAKE_IO_LOCK;
     if
     :: sync_mode || !RING
     :: else -> serve(1, false)
     fi;
     GIVE_IO_LOCK;
     IO_END
  :: atomic { IO_IDLE && watched && !sync_mode && suppressed -> IO_BEGIN }
     /* It means to sleep. */
     TAKE_IO_LOCK;
     if
     :: sync_mode || !RING
     :: else ->
        suppressed = false;
        enable_kicks(1);
        if
        :: again -> serve(1, false)
        :: else
        fi
     fi;
     GIVE_IO_LOCK;
     IO_END
  od
}

#ifdef VCPUS
byte exits;

active proctype OtherVcpu() {
  byte old, now, index, round;
  bool again, first, took;
end:
  do
  :: exits > 0 ->
     atomic { exits-- }
     TAKE_QUEUE_LOCK(2);
     serve_sync(2, true);
     GIVE_QUEUE_LOCK(2)
  od
}
#endif

/* A write to the notify register: it leaves the guest, which empties the processor's buffer. */
inline kick() {
  FENCE(0);
  if
  :: atomic { armed -> event = true }
#ifdef VCPUS
  :: atomic { !armed && sync_mode -> exits++ }
#else
  :: atomic { !armed && sync_mode -> skip }
     TAKE_QUEUE_LOCK(0);
#if defined(CHANGE) && !defined(WITHOUT_LOOK_UNDER_LOCK)
     if
     :: ring && sync_mode -> serve_sync(0, true)
     :: else /* it has changed meanwhile: who changes it looks at the ring */
     fi;
#elif defined(CHANGE)
     if
     :: ring -> serve_sync(0, true)
     :: else
     fi;
#else
     serve_sync(0, true);
#endif
     GIVE_QUEUE_LOCK(0)
#endif
#ifdef CHANGE
  :: atomic { !armed && !sync_mode -> skip }
     event = true /* passed on, maybe to nobody any more */
#else
  :: atomic { !armed && !sync_mode -> skip } /* nobody listens yet */
#endif
  fi
}

inline reap() {
  do
  :: /* Suppress interrupts (with EVENT_IDX the old used_event does it), take what is there. */
#ifndef EVENT_IDX
     STORE(0, BELL_WISH, 1);
#endif
     atomic { assert(memory[USED_IDX] <= added && memory[USED_IDX] >= reaped);
              reaped = memory[USED_IDX] }
#ifdef EVENT_IDX
     STORE(0, BELL_WISH, reaped);
#else
     STORE(0, BELL_WISH, 0);
#endif
#ifndef WITHOUT_DRIVER_REAP_FENCE
     FENCE(0);
#endif
     if
     :: memory[USED_IDX] == reaped -> break
     :: else
     fi
  od
}

active proctype Driver() {
  byte old, now, index, round, before;
  bool again, first, took;
  do
  :: reaped == REQUESTS -> break
  :: added < REQUESTS ->
     /* One request, or two by one kick. */
     atomic {
       before = added;
       if
       :: added = added + 1
       :: added + 2 <= REQUESTS -> added = added + 2
       fi
     }
     STORE(0, AVAIL_IDX, added);
#ifndef WITHOUT_DRIVER_KICK_FENCE
     FENCE(0);
#endif
     if
#ifdef EVENT_IDX
     :: memory[KICK_WISH] >= before && memory[KICK_WISH] < added ->
#else
     :: memory[KICK_WISH] == 0 ->
#endif
        before = 0;
        kick()
     :: else -> before = 0
     fi
  :: added > reaped ->
     /* Halted: nothing but an interrupt goes on from here. */
     atomic { interrupt -> interrupt = false }
     reap()
  od
  /* Here every request was added, served once, published and seen. What may still come is kicks
   * and spurious interrupts. */
}

#ifdef LIFE
active proctype Control() {
  /* Arm; the guest may have rung before. */
  armed = true;
#ifndef WITHOUT_KICK_AFTER_ARMING
  message = true;
#endif

  if
  :: skip /* armed for good */
  :: skip ->
     /* Disarm, at any later time: take the handler off the loop (which waits for a drain under way),
     * let exits drain from here on, deassign, then look at the ring once more whatever the event
     * says: kicks may be suppressed still. */
    TAKE_QUEUE_LOCK(1);
    watched = false;
    sync_mode = true;
    GIVE_QUEUE_LOCK(1);
#ifdef LOOK_BEFORE_DEASSIGN
    message = true;
#endif
    armed = false;
#if !defined(WITHOUT_LAST_KICK) && !defined(LOOK_BEFORE_DEASSIGN)
    message = true
#endif
  fi
}
#endif

#ifdef CHANGE
#ifdef WITHOUT_LAST_LOOK
#define LOOK_AT_THE_RING skip
#else
#define LOOK_AT_THE_RING message = true
#endif

/* On the I/O thread: nothing more is taken. Then what is under way is waited for. */
inline stop_ring() {
  atomic { !io_busy && empty(buffer[1]) -> io_busy = true }
  TAKE_QUEUE_LOCK(1);
  watched = false;
  ring = false;
  GIVE_QUEUE_LOCK(1);
  io_busy = false;
#ifndef WITHOUT_WAIT
  in_host == 0 && !io_busy && completed == published
#endif
}

active proctype Control() {
  if
  :: skip /* it stays as it is */
  :: skip ->
     stop_ring();
#ifndef DISARM_AFTER_LOOK
     armed = false;
#endif
     event = false;
     sync_mode = true;
     ring = true;
     LOOK_AT_THE_RING;
#ifdef DISARM_AFTER_LOOK
     armed = false;
#endif
     if
     :: skip /* for good */
     :: skip ->
        armed = true;
        stop_ring();
#ifndef CONSUME_AFTER_LOOK
        event = false;
#endif
        atomic { sync_mode = false; suppressed = true }
        atomic { ring = true; watched = true }
        LOOK_AT_THE_RING
#ifdef CONSUME_AFTER_LOOK
        ;
        event = false
#endif
     fi
  fi
}
#endif
