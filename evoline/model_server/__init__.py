"""The local model server: a GGUF file behind the wire formats of Anthropic and Gemini, for use without keys.

python -m evoline.model_server --model FILE.gguf --port 8089

formats/      a request of either wire format -> `chat.ChatRequest`; an answer, a stream or an error -> that format
generation    a chat request -> prompt tokens -> a slot -> generated text -> an answer
slots         which slot evaluates which prompt, so that shared beginnings are evaluated once
constraints   a JSON Schema -> what need not be generated, and a grammar for the rest
engine        llama.cpp in this process (`xllamacpp`)
"""
