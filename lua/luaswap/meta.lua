-- meta.lua: types of the policy API for editors; made by `luaswap policy api --luacats` from src/policy/api.def.
-- luacheck: ignore
---@meta luaswap

---@class luaswap.Policy
---@field api integer required: the level that the file was written for
---@field name string required: 1 to 32 of a-z, 0-9 and '-'
---@field version? string free text; migrate gets the old one
---@field description? string free text
---@field requires? string[] capabilities; the file does not load where one is missing
---@field settings? table<string, luaswap.Setting> what the configuration may set; read it through luaswap.config
---@field fast_ready? boolean requests that are ready are served in built-in order without asking pick_next
---@field plan_ready? boolean plan_swap is asked for loaded models too
---@field classic? boolean the triggers of the built-in fifo instead of every event
---@field tick_interval? number seconds between two calls of tick; default 1, least 0.1
---@field migrate? fun(state: table, version: string): table the state of an older version in today's shape
---@field route? fun(req: luaswap.Request): luaswap.Route|luaswap.Reject|nil Which model serves the request; may call http and wait, 2 s in all.
---@field on_request? fun(req: luaswap.Request): luaswap.Admission|luaswap.Reject|nil The admission point: the model is known, the request is not queued yet.
---@field score? fun(req: luaswap.Request): number|nil Higher is served first; nil counts as 0. Asked only when pick_next has no opinion.
---@field pick_next? fun(q: luaswap.Queue): luaswap.Request|luaswap.Hold|nil The next request, from the candidates.
---@field plan_swap? fun(target: luaswap.Model, q: luaswap.Queue): luaswap.Plan|luaswap.Hold|luaswap.Reject|nil Whom to stop so that the target can be loaded.
---@field evict_cost? fun(model: luaswap.Model, target: luaswap.Model): number|nil The cheapest victim goes first; math.huge: not now.
---@field idle_ttl? fun(model: luaswap.Model): number|nil Seconds after which an idle model is stopped; 0 = never.
---@field rewrite? fun(req: luaswap.Request, body: table): table|nil Members of the JSON body to set; luaswap.json.null drops one. Needs requires = { "body" }.
---@field on_failure? fun(req: luaswap.Request, err: string): luaswap.Retry|nil The upstream failed before the first byte went out.
---@field after_ready? fun(model: luaswap.Model): nil The model is ready and not yet in use; the swap waits, stop_hook_s at most.
---@field before_stop? fun(model: luaswap.Model, why: string): nil The model is about to be stopped; the swap waits, stop_hook_s at most.
---@field on_start? fun(info: luaswap.Start): nil Once before the first decision; queue and models can be read.
---@field on_stop? fun(info: luaswap.Stop): nil Before a reload, shutdown or disable.
---@field on_serve_start? fun(req: luaswap.Request): nil Granted to a ready model.
---@field on_serve_done? fun(req: luaswap.Request): nil The answer is finished or broken.
---@field on_cancel? fun(req: luaswap.Request): nil It left without being served; req.cause says why.
---@field on_swap_start? fun(swap: luaswap.Swap): nil A swap was committed.
---@field on_swap_done? fun(swap: luaswap.Swap): nil Its target is ready, or it failed.
---@field on_model? fun(model: luaswap.Model, new: string, old: string): nil A process changed its state.
---@field on_unload? fun(model: luaswap.Model, by: string): nil Stopped outside a swap: admin, ttl, policy, crash or reload.
---@field tick? fun(now: number): nil Every tick_interval seconds (default 1, least 0.1).
---@field dump? fun(): table|string|nil What a person should see after an ejection; 1 ms.

---@class luaswap.Request
---@field id integer unique, grows with arrival
---@field model string resolved id
---@field asked string the name that the client sent
---@field path string? path of the request
---@field kind string? chat, completion, embedding, rerank, image, audio or other
---@field key string? label or keyed hash of the API key, never the key
---@field session string? session header
---@field client string? address
---@field stream boolean a streamed answer was asked for
---@field tokens_in integer? estimate until it is done
---@field tokens_exact boolean tokens_in is a count, not an estimate
---@field max_tokens integer? limit that the client set
---@field bytes integer? size of the body
---@field messages integer? messages of a chat
---@field has_tools boolean needs requires = { "body" }
---@field has_images boolean needs requires = { "body" }
---@field priority number as configured, then as set by route and on_request
---@field deadline number? seconds that it may take in all
---@field class string? set by on_request
---@field arrived number seconds, monotonic
---@field age number seconds since it arrived
---@field ready boolean could be served this instant
---@field attempt integer 1 + retries
---@field status integer? on_serve_done only
---@field serve_s number? on_serve_done only: seconds of service
---@field tokens_out integer? on_serve_done only
---@field cost number? on_serve_done only
---@field error string? on_serve_done only
---@field cause string? on_cancel only: why it was not served
---@field gone boolean route, after a wait: the client left
---@field ctx table yours, dropped with the request
---@field tags table set through route; read only
---@field header fun(self: luaswap.Request, name: string): string? a header by its name in lower case; never authorization
---@field body fun(self: luaswap.Request): table? the parsed JSON body; needs requires = { "body" }

---@class luaswap.Model
---@field id string
---@field state string stopped, starting, ready, stopping or shutdown
---@field ready boolean loaded and not about to stop
---@field draining boolean a swap waits for it to become idle
---@field inflight integer requests being served
---@field queued integer requests in the line
---@field reserved integer queued, waiting for the load and in flight
---@field limit integer requests at once; a large number when there is no limit
---@field priority integer as configured
---@field group integer equal numbers are the same group
---@field pinned boolean never a victim
---@field preemptible boolean may be killed while it serves
---@field load_s number moving average of the load time; 10 when unknown
---@field stop_s number moving average of the stop time; 1 when unknown
---@field vram_mb number measured, else declared; 1 when unknown
---@field loaded_at number? seconds, monotonic; nil when it is not loaded
---@field last_used number seconds, monotonic
---@field idle number seconds; 0 while serving, math.huge when stopped
---@field fails integer failed starts in a row
---@field quarantined_until number? seconds, monotonic
---@field ttl number seconds in force for this idle period; 0 = never
---@field meta table the metadata map of the configuration; read only

---@class luaswap.Swap
---@field id integer
---@field target string model id
---@field evict string[] model ids
---@field stage string draining, stopping or starting
---@field for_id integer? request id
---@field by string policy, builtin or preload
---@field why string? as the policy said
---@field started number seconds, monotonic
---@field elapsed number seconds
---@field ok boolean? on_swap_done only
---@field error string? on_swap_done only

---@class luaswap.Queue
---@field waiting integer all that wait, candidates or not
---@field inflight integer being served
---@field swapping integer swaps going on
---@field first fun(self: luaswap.Queue, filter?: string|fun(r: luaswap.Request): any): luaswap.Request? the first candidate; filter: "ready", "cold", a model id or a function
---@field each fun(self: luaswap.Queue, filter?: string|fun(r: luaswap.Request): any): fun(): luaswap.Request? iterates in built-in order
---@field count fun(self: luaswap.Queue, filter?: string|fun(r: luaswap.Request): any): integer how many
---@field best fun(self: luaswap.Queue, what: string|fun(r): number?, filter?: string|fun(r: luaswap.Request): any): luaswap.Request? largest field or value; nil values are passed over, the earlier one wins a tie
---@field models fun(self: luaswap.Queue): string[] models that candidates ask for, in order of their first request

---@class luaswap.Gpu
---@field index integer
---@field name string
---@field total_mb number
---@field used_mb number
---@field free_mb number
---@field foreign_mb number used by processes that are not ours
---@field util number per cent
---@field temp number degrees Celsius
---@field sampled_at number seconds, monotonic

---@class luaswap.Route
---@field model? string the model that serves it
---@field models? string[] the same with fallbacks, at most 4
---@field priority? number
---@field deadline? number seconds in all
---@field tags? table copied to the activity records

---@class luaswap.Admission
---@field priority? number
---@field deadline? number seconds in all
---@field class? string

---@class luaswap.Plan
---@field evict string[] models to stop
---@field when? "idle"|"drain"|"kill" default idle
---@field grace? number seconds before a kill
---@field why? string for the log

---@class luaswap.Retry
---@field retry boolean
---@field model? string another model
---@field delay? number seconds, at most 30

---@class luaswap.Setting
---@field type "number"|"integer"|"string"|"boolean"|"list"|"map"
---@field default any
---@field min? number
---@field max? number
---@field enum? any[] the values that it may have
---@field doc? string
---@field unit? string
---@field secret? boolean not shown in /api/policy

---@class luaswap.Start
---@field reason "start"|"reload"|"retry"
---@field from? string

---@class luaswap.Stop
---@field reason "reload"|"shutdown"|"disable"
---@field kind? string

---@class luaswap.Hold
---@class luaswap.Reject

---@class luaswap.Wall
---@field year integer
---@field month integer
---@field day integer
---@field hour integer
---@field min integer
---@field sec integer
---@field wday integer
---@field yday integer
---@field zone integer
---@field unix integer

---@class luaswap.Host
---@field mem_free_mb number
---@field load1 number

---@class luaswap.HttpAnswer
---@field status integer
---@field headers table<string, string>
---@field body string
---@field text fun(self): string
---@field json fun(self): any

---@class luaswap.Timer
---@field stop fun(self)

---@class luaswap.Ewma
---@field add fun(self, x: number): number
---@field value fun(self): number?

---@class luaswap.Heap
---@field push fun(self, x)
---@field pop fun(self): any
---@field peek fun(self): any

---@class luaswap.Ring
---@field push fun(self, x)

---@class luaswap.Window
---@field add fun(self, x: number)
---@field sum fun(self): number
---@field count fun(self): integer

---@class luaswap
---@field api_level integer the level that this program offers
---@field api_compatible integer the oldest level that still works
---@field version string of the program
---@field config table the settings, read-only; filled when the chunk has returned
---@field state table survives a reload, as data
luaswap = {}
luaswap.builtin = {}
luaswap.log = {}
luaswap.json = {}
luaswap.metrics = {}
luaswap.timer = {}
luaswap.http = {}
luaswap.json.null = nil

---whether gpu, http, body, preempt... is there
---@param capability string
---@return boolean
function luaswap.has(capability) end

---monotonic seconds, fixed during one event
---@return number
function luaswap.now() end

---year month day hour min sec wday yday zone unix
---@return luaswap.Wall
function luaswap.wall() end

---all models
---@return luaswap.Model[]
function luaswap.models() end

---one model; nil when there is none of that name
---@param id string
---@return luaswap.Model?
function luaswap.model(id) end

---those with a process, by name
---@return luaswap.Model[]
function luaswap.running() end

---swaps going on
---@return luaswap.Swap[]
function luaswap.swaps() end

---the queue outside a decision; every waiting request is in it
---@return luaswap.Queue
function luaswap.queue() end

---the last sample; never probes
---@return luaswap.Gpu[]
function luaswap.gpu() end

---mem_free_mb, load1
---@return luaswap.Host
function luaswap.host() end

---nothing now, ask again by then
---@param sec? number
---@param why? string
---@return luaswap.Hold
function luaswap.hold(sec, why) end

---refuse; opts: retry_after, code
---@param status integer
---@param message? string
---@param opts? table
---@return luaswap.Reject
function luaswap.reject(status, message, opts) end

---load it when that harms nobody; opts: evict, why
---@param id string
---@param opts? table
---@return boolean
function luaswap.preload(id, opts) end

---stop it; opts: when = "idle" or "drain"
---@param id string
---@param opts? table
---@return boolean
function luaswap.unload(id, opts) end

---run the dispatcher after this hook
---@return boolean
function luaswap.kick() end

---do not load it for so long
---@param id string
---@param sec number
---@return boolean
function luaswap.quarantine(id, sec) end

---shed a queued request
---@param id integer
---@param reject luaswap.Reject
---@return boolean
function luaswap.cancel(id, reject) end

---as math.random: seeded per policy
---@param a? integer
---@param b? integer
---@return number
function luaswap.random(a, b) end

---stable 64-bit hash
---@param s string
---@return integer
function luaswap.hash(s) end

---pairs in the order of the keys
---@param t table
---@return fun
function luaswap.sorted_pairs(t) end

---moving average: :add(x), :value()
---@param alpha number
---@return luaswap.Ewma
function luaswap.ewma(alpha) end

---priority queue: :push(x), :pop(), :peek(), #h
---@param less? fun(a, b): boolean
---@return luaswap.Heap
function luaswap.heap(less) end

---the last n values: :push(x), r[i], #r
---@param n integer
---@return luaswap.Ring
function luaswap.ring(n) end

---sum and count of the last seconds: :add(x), :sum(), :count()
---@param sec number
---@return luaswap.Window
function luaswap.window(sec) end

---whom the built-in would take
---@param q luaswap.Queue
---@return luaswap.Request?
function luaswap.builtin.pick_next(q) end

---whom the built-in would stop
---@param model luaswap.Model
---@return luaswap.Plan|luaswap.Hold
function luaswap.builtin.plan_swap(model) end

---the name as the built-in resolved it
---@param req luaswap.Request
---@return luaswap.Route
function luaswap.builtin.route(req) end

---@param fmt string
---@param ... any
function luaswap.log.debug(fmt, ...) end

---@param fmt string
---@param ... any
function luaswap.log.info(fmt, ...) end

---@param fmt string
---@param ... any
function luaswap.log.warn(fmt, ...) end

---50 lines a second, then a count
---@param fmt string
---@param ... any
function luaswap.log.error(fmt, ...) end

---depth 64, 1 MB
---@param value any
---@return string
function luaswap.json.encode(value) end

---nil and a message when it is not JSON
---@param text string
---@return any, string?
function luaswap.json.decode(text) end

---@param name string
---@param n? number
---@param labels? table
---@return boolean
function luaswap.metrics.counter(name, n, labels) end

---@param name string
---@param value number
---@param labels? table
---@return boolean
function luaswap.metrics.gauge(name, value, labels) end

---count and sum
---@param name string
---@param value number
---@param labels? table
---@return boolean
function luaswap.metrics.histogram(name, value, labels) end

---once, 0.1 s later at the soonest; a task, may wait for http
---@param sec number
---@param f fun()
---@return luaswap.Timer?
function luaswap.timer.after(sec, f) end

---again and again; :stop() ends it
---@param sec number
---@param f fun()
---@return luaswap.Timer?
function luaswap.timer.every(sec, f) end

---waits; nil and a message on failure
---@param url string
---@param opts? table
---@return luaswap.HttpAnswer?, string?
function luaswap.http.get(url, opts) end

---waits
---@param url string
---@param body string
---@param opts? table
---@return luaswap.HttpAnswer?, string?
function luaswap.http.post(url, body, opts) end

---url, method, body, headers, timeout
---@param opts table
---@return luaswap.HttpAnswer?, string?
function luaswap.http.request(opts) end
