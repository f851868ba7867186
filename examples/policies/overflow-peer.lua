-- Overflow: when the line for a model is long and the model would have to be loaded first, the request goes to a peer.
local C = luaswap.config

return {
  api = 1,
  name = 'overflow-peer',
  settings = {
    peers = { type = 'map', default = {}, doc = 'local model -> name at a peer, such as "gpu2/qwen"' },
    queue = { type = 'integer', default = 4, min = 0, doc = 'requests at a model from which on it overflows' },
  },

  route = function(req)
    local peer = C.peers[req.model]
    local m = peer and luaswap.model(req.model)
    if not m or m.ready and m.reserved < C.queue then return nil end
    if m.reserved >= C.queue or not m.ready and #luaswap.queue() > C.queue then
      return { models = { peer, req.model }, tags = { overflow = true } }
    end
  end,
}
