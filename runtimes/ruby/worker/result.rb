# What a function returned, as JSON in whole, and what it raised.
module Envoke
  class TooLarge < StandardError; end
  class UnserializableResult < StandardError; end
  MAX_TYPE, MAX_MESSAGE, MAX_STACK = 128, 8 << 10, 16 << 10 # bytes
  FIRST_FRAMES, LAST_FRAMES, MAX_CAUSES = 10, 40, 8
  MAX_DEPTH = 1000
  CLASS = Object.instance_method(:class) # an object's own may lie, or be missing

  # Ruby's encoder writes any object, as its text, so that the value is gone through here.
  class Encoder
    def initialize(limit) = (@limit, @json, @path, @around = limit, +'', [], {}.compare_by_identity)

    def encode(value)
      case value
      when nil then @json << 'null'
      when true, false, Integer then @json << value.to_s
      when Float then @json << (value.finite? ? value : refuse("is #{value}")).to_s
      when String, Symbol then @json << quote(value)
      when Array then nest(value, '[]') { |item, i| step(i, item) }
      when Hash then nest(value, '{}') { |(key, item), _| member(key, item) }
      else refuse("is a #{CLASS.bind_call(value)}")
      end
      @json.bytesize > @limit ? raise(TooLarge, "the result is larger than #{@limit} bytes of JSON") : @json
    end

    private

    def nest(value, brackets)
      refuse('is circular') if @around[value]
      raise UnserializableResult, 'result is nested too deeply' if @path.size > MAX_DEPTH
      @around[value] = true
      @json << brackets[0]
      value.each_with_index do |item, i|
        @json << ',' if i > 0
        yield item, i
      end
      @json << brackets[1]
      @around.delete(value)
    end

    def member(key, item)
      refuse("has a key that is a #{CLASS.bind_call(key)}") unless String === key || Symbol === key || Integer === key
      @json << quote(key) << ':'
      step(key.to_s, item)
    end

    def step(key, item)
      @path.push(key)
      encode(item)
      @path.pop
    end

    # Text that is no Unicode would arrive as less than it is.
    def quote(value)
      text = value.to_s.encode(Encoding::UTF_8)
      text.valid_encoding? ? JSON.generate(text) : refuse('is text that is no UTF-8')
    rescue EncodingError
      refuse('is text that is no UTF-8')
    end

    def refuse(fault)
      steps = @path.map { |key| Integer === key ? "[#{key}]" : key.match?(/\A[[:alpha:]_]\w*\z/) ? ".#{key}" : "[#{key.to_json}]" }
      raise UnserializableResult, "result#{steps.join} #{fault}"
    end
  end

  # Returns the JSON of the failure that the host is told of: the place is in the user's
  # own file, and no frame is of the worker's.
  def self.failure(kind, error, file)
    kind = 'output' if TooLarge === error
    kind = 'memory' if NoMemoryError === error && kind != 'load'
    message, line, column = message_of(error), places(error, file).first&.lineno.to_i, 0
    if SyntaxError === error && message =~ /^#{Regexp.escape(file)}:(\d+): (.*)$/
      line, said, column = $1.to_i, $2, message[/^ *\^/].to_s.size
    end
    JSON.generate(kind: kind, type: cut(type_of(error), MAX_TYPE), message: cut(said || message, MAX_MESSAGE),
                  line: line, column: column, stack_trace: cut(trace(error, file), MAX_STACK))
  end

  def self.type_of(error) = CLASS.bind_call(error).to_s.delete_prefix('Envoke::')

  def self.message_of(error)
    String.new(error.message)
  rescue Exception # an error's class may have methods that raise
    '<its message could not be read>'
  end

  # Returns the entries of the backtrace in the user's file, innermost first.
  def self.places(error, file)
    (Exception.instance_method(:backtrace_locations).bind_call(error) || []).select { |place| place.path == file }
  end

  # Returns the backtrace as Ruby prints it, and those of the causes.
  def self.trace(error, file, causes = MAX_CAUSES)
    lines = places(error, file).map(&:to_s)
    left_out = lines.size - FIRST_FRAMES - LAST_FRAMES
    lines[FIRST_FRAMES, left_out] = "[#{left_out} more]" if left_out > 0
    lines[0] = [lines[0], "#{message_of(error)} (#{type_of(error)})"].compact.join(': ')
    cause = Exception.instance_method(:cause).bind_call(error) if causes > 0
    lines.join("\n\tfrom ") + (cause ? "\n#{trace(cause, file, causes - 1)}" : '')
  end
end
