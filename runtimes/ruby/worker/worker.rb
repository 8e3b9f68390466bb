# The worker: takes frames on descriptor 3 (PROTOCOL.md), runs the user's function, answers.
require 'json'

module Envoke
  WORKER = self # its name is not for the user to see
  CHECK, LOAD, INVOKE, MORE, CANCEL = *1..5
  READY, LOADED, RESULT, FAILED, LOG, STREAM, PART, CONTEXT = *16..23
  INPUT, OUTPUT = IO.for_fd(3, 'rb', autoclose: false), IO.for_fd(3, 'wb', autoclose: false)
  WRITING, PUT_BY = Mutex.new, [] # frames that came while a stream was run
  INFO, WARN, ERROR = 1, 2, 3
  WINDOW, PART_COST, MAX_ENTRY, MAX_LOGGED, ENTRY_COST = 256 << 10, 16, 8 << 10, 1 << 20, 16 # bytes
  MAX_TYPE, MAX_MESSAGE, MAX_STACK, MAX_DEPTH = 128, 8 << 10, 16 << 10, 1000
  HANDLERS = { handler: 'context) or (event, context', handle: 'params) or (params, context' }
  CLASS = Object.instance_method(:class) # an object's own may lie, or be missing
  TooLargeResult, UnserializableResult, UnserializableContext, TooLargeContext = Array.new(4) { Class.new(StandardError) }

  # A call and what is printed for it. New threads are in the group of those that start them.
  class Call < ThreadGroup
    attr_reader :answered
    def self.current = (call = Thread.current.group).instance_of?(Call) && !call.answered ? call : BACKGROUND
    def initialize(id) = (@id, @partial, @left, @dropped = id, {}, MAX_LOGGED, 0)
    def renew = @left = MAX_LOGGED
    def answer(kind, payload)
      @partial.keys.each { |level| end_line(level) }
      WORKER.tell(LOG, @id, "#{WARN.chr}#{@dropped} more characters were not logged") if @dropped > 0
      @answered = true
      WORKER.tell(kind, @id, payload)
    end
    # Logs a text that ends its line; another waits for the rest.
    def print(level, text)
      text = @partial.delete(level).to_s + WORKER.cut(text, text.bytesize * 3)
      return log(level, text.chomp) if text.end_with?("\n")
      @partial[level] = text[0, MAX_ENTRY] unless text.empty?
    end
    def end_line(level) = (text = @partial.delete(level)) && log(level, text)
    def log(level, text)
      entry = WORKER.cut(text, MAX_ENTRY)
      return @dropped += text.size if (@left -= ENTRY_COST + entry.bytesize) < 0
      WORKER.tell(LOG, @id, level.chr + entry)
    end
  end
  BACKGROUND = Call.new(0) # of what is printed outside of any call

  # Standard output and error: whatever prints in Ruby comes by their write.
  class Printed < IO
    def level = @level ||= fileno == 1 ? INFO : ERROR
    def flush = tap { Call.current.end_line(level) }
    def close = flush && nil
    def write(*texts) = texts.join.tap { |text| Call.current.print(level, text) }.bytesize
  end

  # What a function returned, as JSON in whole: Ruby's encoder would write any object's text.
  class Encoder
    def initialize(limit, what = 'Result') = (@limit, @what, @json, @path, @around = limit, what, +'', [], {}.compare_by_identity)
    def encode(value)
      case value
      when nil, true, false, Integer then @json << JSON.generate(value)
      when Float then @json << (value.finite? ? value : refuse("is #{value}")).to_s
      when String, Symbol then @json << quote(value)
      when Array then nest(value, '[]') { |item, i| [i, item] }
      when Hash then nest(value, '{}') { |pair, _| pair.tap { |key, _| @json << name(key) << ':' } }
      else refuse("is a #{CLASS.bind_call(value)}")
      end
      @json.bytesize > @limit ? raise(WORKER.const_get("TooLarge#{@what}"), "the #{@what.downcase} is larger than #{@limit} bytes of JSON") : @json
    end
    def nest(value, brackets)
      refuse('is circular') if @around[value]
      raise WORKER.const_get("Unserializable#{@what}"), "#{@what.downcase} is nested too deeply" if @path.size > MAX_DEPTH
      @around[value] = true
      value.each_with_index do |entry, i|
        @json << (i > 0 ? ',' : brackets[0])
        key, item = yield entry, i
        @path.push(key)
        encode(item)
        @path.pop
      end
      @json << (value.empty? ? brackets : brackets[1])
      @around.delete(value)
    end
    def name(key) = [String, Symbol, Integer].any? { |type| type === key } ? quote(key) : refuse("has a key that is a #{CLASS.bind_call(key)}")
    # Text that is no Unicode would arrive as less than it is.
    def quote(value)
      text = value.to_s.encode(Encoding::UTF_8) rescue nil
      text&.valid_encoding? ? JSON.generate(text) : refuse('is text that is no UTF-8')
    end
    def refuse(fault)
      steps = @path.map { |key| Integer === key ? "[#{key}]" : key.match?(/\A[[:alpha:]_]\w*\z/) ? ".#{key}" : "[#{JSON.generate(key)}]" }
      raise WORKER.const_get("Unserializable#{@what}"), "#{@what.downcase}#{steps.join} #{fault}"
    end
  end

  class Code
    attr_reader :file, :limit
    def initialize(payload)
      @file, @source, @limit, @environment = JSON.parse(payload).values_at('filename', 'source', 'max_result', 'environment')
      @source.delete_prefix!("\uFEFF")
      @limit = Float::INFINITY if @limit.to_i == 0
    end
    # Parses the code and runs none of it. A fragment becomes a lambda: it may return.
    def parse
      verbose, $VERBOSE = $VERBOSE, nil
      compile(source = "params = nil; context = nil\n#{@source}")
      nodes = RubyVM::AbstractSyntaxTree.parse(source).children.last.children.compact
      defined = nodes.map { |node| node.type == :DEFN && node.children[0] }
      @name = (HANDLERS.keys & defined).first
      compile(@lambda = "lambda { |params, context|\n#{@source}\n}") unless @name
      %({"form":"#{@name || 'fragment'}","executes":#{!!@name},"serial":true})
    ensure
      $VERBOSE = verbose
    end
    def load
      ENV.update(@environment || {})
      parse.tap do
        TOPLEVEL_BINDING.eval(@source, @file) if @name
        @method = @name ? TOPLEVEL_BINDING.receiver.method(@name) : method(:fragment)
        @count = count(@method.parameters.map(&:first))
      end
    end
    def run(params, context)
      event = @count == 1 ? context.merge!('params' => params) : { 'params' => params, 'context' => context } if @name == :handler
      @method.call(*[event || params, context].first(@count))
    end
    def left(context) = @name == :handler && @count == 1 ? context.except('params') : context
    # Has a fragment define its constants and methods for this call alone.
    def fragment(params, context) = Object.new.instance_eval(@lambda, @file, 0).call(params, context)
    def compile(source) = RubyVM::InstructionSequence.compile(source, @file, @file, 0)
    # Passed is as much as is required; where nothing is, as much as is taken.
    def count(kinds)
      count = kinds.count(:req).nonzero? || [kinds.count(:opt) + 2 * kinds.count(:rest), 2].min
      return count if count <= 2 && !kinds.include?(:keyreq)
      raise ArgumentError, "#{@name} requires more than it is given: it may take (#{HANDLERS[@name]})"
    end
  end
  class << self
    # What other threads raise here, such as an exit, waits for a call: frames stay whole.
    def main
      OUTPUT.sync = true
      $stdout, $stderr = Printed.for_fd(1, 'w', autoclose: false), Printed.for_fd(2, 'w', autoclose: false)
      Object.class_eval { remove_const(:STDOUT) && const_set(:STDOUT, $stdout) }
      Warning.define_singleton_method(:warn) { |text, **| Call.current.print(WARN, text) }
      tell(READY, 0, %({"version":"#{RUBY_VERSION}"}))
      Thread.handle_interrupt(Object => :never) { loop { serve(*(PUT_BY.shift || receive)) } }
    ensure
      Process.exit!(1) # the host is gone, or descriptor 3
    end
    def serve(kind, id, payload)
      case kind
      when CHECK then answer(id, 'load', code = Code.new(payload)) { [LOADED, code.parse] }
      when LOAD then answer(id, 'load', @code = Code.new(payload)) { [LOADED, @code.load] }
      when INVOKE then @code ? invoke(id, payload) : die('an invocation before the load was answered')
      when MORE, CANCEL # of a stream that is over
      else die("a frame of unknown type #{kind}")
      end
    end
    def invoke(id, payload)
      BACKGROUND.renew
      outlive
      event = JSON.parse(payload, max_nesting: MAX_DEPTH)
      answer(id, 'thrown', @code) do
        value = @code.run(event['params'], event['context'] ||= {})
        items, head = stream_in(value)
        (stream(id, items, head); value = nil) if Enumerator === items
        [RESULT, encode(value).tap { leave(id, *event.values_at('context', 'retain')) }]
      end
    rescue JSON::ParserError, EncodingError => error
      answer(id, 'params', @code) { raise error }
    end
    # Answers with what the block returns, or with what it raises.
    def answer(id, kind, code, &block)
      (call = Call.new(id)).add(Thread.main)
      call.answer(*Thread.handle_interrupt(Object => :immediate, &block))
    rescue Exception => error
      call.answer(FAILED, failure(kind, error, code.file))
    end
    # Logs what threads that were left behind have raised here: it is no call's.
    def outlive
      Thread.handle_interrupt(Object => :immediate) { Thread.pass }
    rescue Exception => error
      BACKGROUND.print(ERROR, "uncaught: #{type_of(error)}: #{message_of(error)}\n")
    end
    def leave(id, context, limit) = limit && tell(CONTEXT, id, Encoder.new(limit, 'Context').encode(@code.left(context)))
    def encode(value) = Encoder.new(@code.limit).encode(value)
    # Returns what may be the items of a stream, and what goes with them.
    def stream_in(value)
      return value, nil unless Hash === value && (value.key?('statusCode') || value.key?(:statusCode))
      value.transform_keys(&:to_s).then { |response| [response['body'], response.slice('statusCode', 'headers')] }
    end
    def stream(id, items, head)
      tell(STREAM, id, encode(head))
      room = WINDOW
      items.each do |*item|
        item = item.first if item.size < 2
        part = String === item && item.encoding == Encoding::BINARY ? "\1#{item}" : "\0#{encode(item)}"
        raise TooLargeResult, 'a part is too large' if part.bytesize - 1 > @code.limit
        tell(PART, id, part)
        room = heed(id, room - part.bytesize + 1 - PART_COST) or break
      end
    end
    # Waits for room and puts by what is not about the stream. Nil: nobody wants the rest.
    def heed(id, room)
      Thread.handle_interrupt(Object => :never) do
        while room <= 0 || IO.select([INPUT], nil, nil, 0)
          kind, call, payload = frame = receive
          return if kind == CANCEL && call == id
          kind == MORE && call == id ? room += payload.to_i : PUT_BY << frame
        end
      end
      room
    end
    # Returns the JSON of a failure, with the place in the user's own file.
    def failure(kind, error, file)
      kind = { TooLargeResult => 'output', TooLargeContext => 'context', NoMemoryError => 'memory' }.fetch(CLASS.bind_call(error), kind) unless kind == 'load'
      message, line, column = message_of(error), places(error, file).first&.lineno.to_i, 0
      line, said, column = $1.to_i, $2, message[/^ *\^/].to_s.size if SyntaxError === error && message =~ /^#{Regexp.escape(file)}:(\d+): (.*)$/
      JSON.generate(kind: kind, type: cut(type_of(error), MAX_TYPE), message: cut(said || message, MAX_MESSAGE),
                    line: line, column: column, stack_trace: cut(trace(error, file), MAX_STACK))
    end
    # Returns the backtrace as Ruby prints it, of ten frames and forty, and the causes'.
    def trace(error, file, causes = 8)
      lines = places(error, file).map(&:to_s)
      lines[10...-40] = ["[#{lines.size - 50} more]"] if lines.size > 50
      lines[0] = [lines[0], "#{message_of(error)} (#{type_of(error)})"].compact.join(': ')
      cause = Exception.instance_method(:cause).bind_call(error) if causes > 0
      lines.join("\n\tfrom ") + (cause ? "\n#{trace(cause, file, causes - 1)}" : '')
    end
    def places(error, file) = Exception.instance_method(:backtrace_locations).bind_call(error).to_a.select { |place| place.path == file }
    def type_of(error) = CLASS.bind_call(error).to_s.delete_prefix('Envoke::')
    def message_of(error)
      String.new(error.message)
    rescue Exception # it may be a method of the user's
      '<its message could not be read>'
    end
    def receive
      length, kind, call = (INPUT.read(9) || Process.exit!(0)).unpack('NCN')
      die('a frame without a header') if length < 5
      [kind, call, INPUT.read(length - 5)]
    end
    # Writes a frame in whole, whatever other threads do or raise here meanwhile.
    def tell(kind, call, payload)
      frame = [5 + payload.bytesize, kind, call].pack('NCN') + payload.b
      Thread.handle_interrupt(Object => :never) { WRITING.synchronize { OUTPUT.write(frame) } }
    end
    def die(reason) = STDERR.syswrite("worker: the host sent #{reason}\n") && Process.exit!(70)
    # Returns a text in UTF-8, cut to a number of bytes, but not within a character.
    def cut(text, limit)
      text = text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace) unless text.encoding == Encoding::BINARY
      text.dup.force_encoding(Encoding::UTF_8).scrub.byteslice(0, limit).scrub('')
    end
  end
end
Object.send(:remove_const, :Envoke).main
