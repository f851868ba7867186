-- fifo: the first in line that can move; who has to go is the planner's business. The Lua twin of src/sched/fifo.c.
return {
  api = 1,
  name = 'fifo',
  classic = true, -- the line is walked in order, pick_next is asked only without this flag
  plan_ready = true,
  pick_next = function(q) return q:first() end,
  plan_swap = function(target) return luaswap.builtin.plan_swap(target) end,
}
