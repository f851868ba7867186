-- fifo: the first in line that can move; who has to go is the planner's business. The Lua twin of src/sched/fifo.c.
return {
  api = 1,
  name = 'fifo',
  classic = true,
  pick_next = function(q) return q:first() end,
}
