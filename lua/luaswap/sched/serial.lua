-- serial: strict arrival order, one request at a time, one model in memory. The Lua twin of src/sched/serial.c.
return {
  api = 1,
  name = 'serial',
  plan_ready = true,
  pick_next = function(q)
    if q.inflight > 0 or q.swapping > 0 then return luaswap.hold() end
    return q:first()
  end,
  plan_swap = function(target)
    local out = {}
    for _, m in ipairs(luaswap.running()) do
      if m.id ~= target.id then out[#out + 1] = m.id end
    end
    return { evict = out, when = 'idle' }
  end,
}
